//! The mix of event types: visitors' weights, corrected by the stream's deficits.

use weir_events::EventType;

use crate::random::Random;

/// Event types in the order of all tables here, with their shares: searches are taken from the views.
pub(crate) const SHARES: [(EventType, f64); 5] = [
    (EventType::View, 0.694),
    (EventType::Click, 0.20),
    (EventType::AddToCart, 0.07),
    (EventType::Purchase, 0.03),
    (EventType::Search, 0.006),
];

/// Deficit in events that doubles a type's weight.
const GAIN: f64 = 20.0;
/// Deficits that cannot be worked off (a burst on a page without products) are forgotten beyond this many events, far
/// less than a point of 100,000.
const MEMORY: f64 = 300.0;

/// The deficit of each event type.
#[derive(Default)]
pub(crate) struct Mix {
    deficits: [f64; 5],
}

impl Mix {
    /// Chooses the type of an event by the visitor's weights (0: impossible, regardless of deficits).
    pub(crate) fn choose(&mut self, weights: [f64; 5], random: &mut Random) -> EventType {
        let mut corrected = weights;
        for (weight, deficit) in corrected.iter_mut().zip(self.deficits) {
            *weight *= (1.0 + deficit / GAIN).clamp(0.0, 10.0);
        }
        // If all possible types are in surplus, only the visitor's weights count.
        let row = if corrected.iter().sum::<f64>() > 0.0 { corrected } else { weights };
        let chosen = SHARES[random.weighted(&row)].0;
        self.record(chosen);
        chosen
    }

    /// Counts an event whose type was not chosen here.
    pub(crate) fn record(&mut self, kind: EventType) {
        for (deficit, (other, share)) in self.deficits.iter_mut().zip(SHARES) {
            let change = share - if other == kind { 1.0 } else { 0.0 };
            *deficit = (*deficit + change).clamp(-MEMORY, MEMORY);
        }
    }
}
