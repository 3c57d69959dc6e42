//! One visit: its planned length, the current page, and the possible next actions.

use weir_events::EventType;

use crate::random::Random;
use crate::shop::{Kind, Shop};

/// Time in microseconds from the start of the stream. Milliseconds would make visitors of a busy stream act in lock-step.
pub(crate) type Micros = i64;

pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const MINUTE: Micros = 60 * SECOND;

/// Mean time between two actions.
pub(crate) const THINK_MEAN: f64 = 7.0 * SECOND as f64;
const THINK_SIGMA: f64 = 0.8;
/// Maximum think time, so that an engaged visit's last event comes at most this long before its planned end.
const THINK_MAX: f64 = MINUTE as f64;

/// Planned lengths of engaged visits; the first minute makes up for the last thought.
const ENGAGED: (f64, f64) = (16.0 * MINUTE as f64, 45.0 * MINUTE as f64);
const SHORT_MEAN: f64 = 40.0 * SECOND as f64;
const SHORT_MAX: f64 = 5.0 * MINUTE as f64;

/// Kinds of visits, with their shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Bounce,
    Short,
    Engaged,
}
const PLANS: [(Plan, f64); 3] = [(Plan::Bounce, 0.45), (Plan::Short, 0.45), (Plan::Engaged, 0.10)];

/// An open visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) user: u32,
    /// Number of the visit; its session id is made from it.
    pub(crate) number: u64,
    pub(crate) plan: Plan,
    pub(crate) began: Micros,
    /// Planned end.
    pub(crate) end: Micros,
    /// Events so far in the stream.
    pub(crate) events: u32,
    pub(crate) page: u32,
    /// The previous page.
    pub(crate) before: Option<u32>,
    /// The product shown by the page, if any.
    pub(crate) product: Option<u32>,
    /// The previous event; `None` before the first.
    pub(crate) last: Option<EventType>,
    cart: Cart,
}

/// Products added and not yet bought; a full cart takes no more.
#[derive(Debug, Clone, Copy, Default)]
struct Cart {
    products: [u32; 4],
    len: usize,
}

/// Time to the next action: log-normal.
pub(crate) fn think(random: &mut Random) -> Micros {
    let mu = libm::log(THINK_MEAN) - THINK_SIGMA * THINK_SIGMA / 2.0;
    random.log_normal(mu, THINK_SIGMA).min(THINK_MAX) as Micros
}

/// Remaining think time of a visit at the start of the stream: weighted by length, at a uniform point.
pub(crate) fn rest_of_thought(random: &mut Random) -> Micros {
    let mu = libm::log(THINK_MEAN) + THINK_SIGMA * THINK_SIGMA / 2.0;
    (random.log_normal(mu, THINK_SIGMA).min(THINK_MAX) * random.unit()) as Micros
}

impl Visit {
    /// A visit that begins now.
    pub(crate) fn begin(user: u32, number: u64, now: Micros, random: &mut Random) -> Self {
        let plan = PLANS[random.weighted(&PLANS.map(|(_, share)| share))].0;
        let length = match plan {
            Plan::Bounce => 0.0,
            Plan::Short => random.exponential(SHORT_MEAN).min(SHORT_MAX),
            Plan::Engaged => random.between(ENGAGED.0, ENGAGED.1),
        };
        let end = now + length as Micros;
        Self {
            user,
            number,
            plan,
            began: now,
            end,
            events: 0,
            page: 0,
            before: None,
            product: None,
            last: None,
            cart: Cart::default(),
        }
    }

    /// A visit that is open when the stream begins: some pages seen, perhaps something in the cart.
    pub(crate) fn under_way(user: u32, number: u64, shop: &Shop, random: &mut Random) -> Self {
        let mut visit = Self::begin(user, number, 0, random);
        // Weighted by length: an engaged visit has about 260 events, a short one 6.
        let mean = (ENGAGED.0 + ENGAGED.1) / 2.0;
        let weights = [PLANS[1].1 * (SHORT_MEAN + THINK_MEAN / 2.0), PLANS[2].1 * mean];
        let (plan, length) = if random.weighted(&weights) == 1 {
            // Lengths weighted by themselves: their squares are uniform.
            let length = libm::sqrt(random.between(ENGAGED.0 * ENGAGED.0, ENGAGED.1 * ENGAGED.1));
            (Plan::Engaged, length)
        } else {
            (Plan::Short, random.exponential(SHORT_MEAN) + random.exponential(SHORT_MEAN))
        };
        visit.plan = plan;
        let age = random.unit() * length;
        visit.began = -(age as Micros) - 1;
        visit.end = visit.began + length as Micros;
        visit.go(shop.landing(random), shop, random);
        visit.last = Some(EventType::View);
        visit.go(shop.next(visit.page, false, random), shop, random);
        if plan == Plan::Engaged && random.chance(0.5) {
            visit.cart.put(random.below(shop.products()));
        }
        visit
    }

    /// Whether the visit's plan is over at `now`. Only planned bounces end after one event.
    pub(crate) fn is_over(&self, now: Micros) -> bool {
        match self.plan {
            Plan::Bounce => self.events > 0,
            Plan::Short | Plan::Engaged => self.events > 1 && now > self.end,
        }
    }

    /// The visitor's weight of each event type, in the order of [`crate::mix::SHARES`]; 0 if it is impossible.
    pub(crate) fn inclinations(&self, shop: &Shop) -> [f64; 5] {
        let kind = shop.kind(self.page);
        let click = match (self.last, kind) {
            (Some(EventType::View), Kind::Home) => 0.3,
            (Some(EventType::View), _) => 0.4,
            _ => 0.0,
        };
        let put = match self.last {
            Some(EventType::View | EventType::Click) if self.product.is_some() && !self.cart.is_full() => 0.2,
            _ => 0.0,
        };
        let buy = match kind {
            _ if self.cart.len == 0 => 0.0,
            Kind::Cart => 0.6,
            _ => 0.05,
        };
        [1.0, click, put, buy, 0.01]
    }

    /// Performs an action: moves, fills and empties the cart. Returns the product concerned. `target` is the page of a view.
    pub(crate) fn act(
        &mut self,
        kind: EventType,
        target: u32,
        shop: &Shop,
        random: &mut Random,
    ) -> Option<u32> {
        self.events += 1;
        let product = match kind {
            EventType::View => {
                self.go(target, shop, random);
                self.product
            }
            EventType::Search => {
                if let Some(page) = shop.search().filter(|p| *p != self.page) {
                    self.go(page, shop, random);
                }
                None
            }
            EventType::Click => self.product,
            EventType::AddToCart => self.product.inspect(|product| self.cart.put(*product)),
            EventType::Purchase => self.cart.take(),
        };
        self.last = Some(kind);
        product
    }

    /// The target page of a view.
    pub(crate) fn destination(&self, shop: &Shop, random: &mut Random) -> u32 {
        match self.last {
            None => shop.landing(random),
            Some(_) => shop.next(self.page, self.cart.len > 0, random),
        }
    }

    fn go(&mut self, page: u32, shop: &Shop, random: &mut Random) {
        self.before = self.last.map(|_| self.page);
        self.page = page;
        self.product = (shop.kind(page) == Kind::Product).then(|| shop.shown(page, random));
    }
}

impl Cart {
    fn is_full(&self) -> bool {
        self.len == self.products.len()
    }

    fn put(&mut self, product: u32) {
        self.products[self.len] = product;
        self.len += 1;
    }

    fn take(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        Some(self.products[self.len])
    }
}

/// Share of the events that are the first of their visit, roughly: bounces, short visits of 6 events, engaged of 260.
pub(crate) const FIRST_EVENTS: f64 = 1.0 / (0.45 + 0.45 * 6.7 + 0.10 * 261.0);
