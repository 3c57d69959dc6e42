// The dashboard. Text from events only ever becomes textContent, so it is never markup.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const count = new Intl.NumberFormat("en");
const percent = (share) => (100 * share).toFixed(1) + " %";
const time = (millis) => new Date(millis).toISOString().slice(11, 19);
const span = (seconds) => Math.floor(seconds / 60) + ":" + String(Math.floor(seconds % 60)).padStart(2, "0");

/** What is shown: the newest sealed window, the site's windows of the last half hour, the open window. */
const state = { top: null, trending: null, site: [], open: null, heard: 0, connected: false };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function showOpen() {
  const { open } = state;
  const tiles = $("tiles");
  if (!open) {
    tiles.replaceChildren(element("dd", "no events yet", "empty"));
    return;
  }
  $("open-time").textContent = "as of " + time(open.as_of) + " UTC";
  const { site } = open;
  const engagement = site.views > 0 ? percent(site.clicks / site.views) : "–";
  const values = [
    ["visitors", count.format(site.users)], ["views", count.format(site.views)], ["clicks", count.format(site.clicks)],
    ["engagement", engagement], ["cart additions", count.format(site.carts)], ["conversions", count.format(site.conversions)],
  ];
  tiles.replaceChildren(...values.map(([name, value]) => {
    const tile = element("div");
    tile.append(element("dt", name), element("dd", value));
    return tile;
  }));
  showFunnel(site);
}

function showFunnel(site) {
  const steps = [["view", site.views], ["cart", site.carts], ["purchase", site.conversions]];
  const svg = drawn("svg", { viewBox: "0 0 600 66" });
  const most = Math.max(1, site.views);
  steps.forEach(([name, value], i) => {
    svg.append(drawn("text", { x: 0, y: 15 + 22 * i }, name), drawn("rect", { x: 60, y: 4 + 22 * i, height: 14, width: Math.max(1, 440 * value / most) }),
      drawn("text", { x: 510, y: 15 + 22 * i }, count.format(value)));
  });
  $("funnel").replaceChildren(svg);
  $("funnel").setAttribute("aria-label", steps.map(([name, value]) => name + " " + value).join(", "));
}

function showChart() {
  const windows = state.site;
  if (windows.length === 0) {
    $("chart").replaceChildren(element("p", "no window was sealed yet", "empty"));
    return;
  }
  const [width, height, left, bottom] = [900, 180, 50, 18];
  const open = state.open ? { end: state.open.end, views: state.open.site.views } : null;
  const first = windows[0].window_end;
  const last = Math.max(windows[windows.length - 1].window_end, open ? open.end : 0);
  const most = Math.max(1, ...windows.map((w) => w.site.view_count), open ? open.views : 0);
  const x = (end) => left + (width - left - 10) * (last === first ? 1 : (end - first) / (last - first));
  const y = (views) => 8 + (height - bottom - 8) * (1 - views / most);
  const point = (end, views) => x(end).toFixed(1) + " " + y(views).toFixed(1);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}` });
  for (const share of [0, 0.5, 1]) {
    const at = y(most * share);
    svg.append(drawn("line", { x1: left, x2: width - 10, y1: at, y2: at }), drawn("text", { x: 0, y: at + 4 }, count.format(Math.round(most * share))));
  }
  svg.append(drawn("path", { class: "line", d: "M" + windows.map((w) => point(w.window_end, w.site.view_count)).join("L") }));
  const newest = windows[windows.length - 1];
  if (open && open.end > newest.window_end) {
    svg.append(drawn("path", { class: "open", d: "M" + point(newest.window_end, newest.site.view_count) + "L" + point(open.end, open.views) }));
  }
  svg.append(drawn("text", { x: left, y: height - 4 }, time(first)), drawn("text", { x: width - 60, y: height - 4 }, time(last)));
  $("chart").replaceChildren(svg);
  $("chart").setAttribute("aria-label", `views per window from ${time(first)} to ${time(newest.window_end)}, at most ${most}`);
  $("chart-table").tBodies[0].replaceChildren(...windows.slice(-30).reverse().map((w) => {
    const row = element("tr");
    row.append(element("td", time(w.window_end)), element("td", count.format(w.site.view_count)), element("td", count.format(w.site.unique_users)));
    return row;
  }));
}

function change(page) {
  if (page.previous_rank === null) return element("td", "new", "up");
  const won = page.previous_rank - page.rank;
  if (won === 0) return element("td", "=");
  return won > 0 ? element("td", "▲" + won, "up") : element("td", "▼" + -won, "down");
}

function showTop() {
  const { top } = state;
  if (!top) return;
  $("window-time").textContent = time(top.window_start) + " – " + time(top.window_end) + " UTC";
  const filter = $("filter").value.toLowerCase();
  const shown = top.pages.filter((ranked) => ranked.page && ranked.page.page_url.toLowerCase().includes(filter));
  const rows = shown.map(({ rank, previous_rank, page }) => {
    const row = element("tr");
    const name = element("td");
    const button = element("button", page.page_url);
    button.title = page.page_url;
    button.addEventListener("click", () => { $("filter").value = page.page_url; filtered(); });
    name.append(button);
    name.style.backgroundImage = "linear-gradient(var(--bar), var(--bar))";
    name.style.backgroundSize = `${100 * page.view_count / Math.max(1, top.pages[0].page.view_count)}% 100%`;
    row.append(element("td", rank), change({ rank, previous_rank }), name);
    for (const value of [count.format(page.view_count), count.format(page.unique_users), count.format(page.click_count), count.format(page.conversion_count),
      percent(page.engagement_rate), percent(page.bounce_rate), span(page.avg_session_duration)]) row.append(element("td", value));
    return row;
  });
  if (rows.length === 0) {
    const row = element("tr");
    row.append(element("td", filter ? "no ranked page matches the filter" : "no page was viewed in this window", "empty"));
    rows.push(row);
  }
  $("top").tBodies[0].replaceChildren(...rows);
}

function showTrending() {
  const { trending } = state;
  if (!trending) return;
  const sentence = (page) => {
    const times = page.expected >= 0.05 ? `, ${page.expected.toFixed(page.expected < 10 ? 1 : 0)} expected, ${(page.view_count / page.expected).toFixed(1)} times` : ", none expected";
    return `${page.page_url}: ${count.format(page.view_count)} views${times}`;
  };
  const lines = trending.pages.map((page) => element("li", sentence(page)));
  if (lines.length === 0) lines.push(element("li", trending.warming_up ? "warming up: not enough windows yet to say what is usual" : "nothing is trending", "empty"));
  $("trending").replaceChildren(...lines);
}

function showFreshness() {
  const status = $("freshness");
  const silent = Date.now() - state.heard;
  const stale = !state.connected || silent > 10000;
  status.className = stale ? "stale" : "";
  if (!state.connected) status.textContent = "reconnecting";
  else if (silent > 10000 && state.heard) status.textContent = `no news for ${Math.floor(silent / 1000)} s`;
  else status.textContent = state.top ? "live; sealed up to " + time(state.top.window_end) + " UTC" : "live; no window was sealed yet";
}

async function fetched(path) {
  const answer = await fetch("/api/v1/" + path);
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer.json();
}

/** The newest sealed window, from the API: a message only says that there is one. */
async function refresh() {
  try {
    const [top, trending, site] = await Promise.all([fetched("top"), fetched("trending"), fetched("site")]);
    // Never back in time.
    if (state.top && top.window_end < state.top.window_end) return;
    Object.assign(state, { top, trending, site: site.windows });
    showTop(); showTrending(); showChart(); showFreshness();
  } catch (error) {
    showFreshness();
  }
}

function connect(pause) {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/api/v1/live");
  socket.addEventListener("open", () => { state.connected = true; state.heard = Date.now(); pause = 250; refresh(); });
  socket.addEventListener("message", ({ data }) => {
    state.heard = Date.now();
    const message = JSON.parse(data);
    if (message.provisional === true) { state.open = message; showOpen(); showChart(); }
    if (message.provisional === false || message.missed) refresh();
    showFreshness();
  });
  socket.addEventListener("close", () => {
    state.connected = false;
    showFreshness();
    setTimeout(() => connect(Math.min(pause * 2, 5000)), pause);
  });
}

/** The filter is part of the address, so that a view can be shared. */
function filtered() {
  const value = $("filter").value;
  history.replaceState(null, "", value ? "#filter=" + encodeURIComponent(value) : location.pathname);
  showTop();
}

const given = /^#filter=(.*)$/.exec(location.hash);
if (given) $("filter").value = decodeURIComponent(given[1]);
$("filter").addEventListener("input", filtered);
fetched("pipeline").then((pipeline) => { $("pipeline").textContent = pipeline.name; }).catch(() => {});
showOpen(); showChart(); showFreshness();
setInterval(showFreshness, 1000);
connect(250);
