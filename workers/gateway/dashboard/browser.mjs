// The dashboard in a real browser, over the demo: `cargo xtask browser`.
// WEIR: the binary. CHROMIUM: the browser. PICTURES: the folder for screenshots. ONLY: a part of the names of the tests to run.
// DIST: a folder with other scripts and styles than those in the binary, to try a change without building that.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const pictures = process.env.PICTURES;
mkdirSync(pictures, { recursive: true });
const tests = [];
const test = (name, run) => tests.push([name, run]);

/** A demo on an address, event time twenty times as fast. */
async function demo(listen) {
  const child = spawn(process.env.WEIR, ["demo", "--speed", "20", "--listen", listen], { stdio: ["ignore", "pipe", "ignore"] });
  const address = await new Promise((found, failed) => {
    let output = "";
    child.stdout.on("data", (data) => {
      output += data;
      const match = /http:\/\/[\d.:]+/.exec(output);
      if (match) found(match[0]);
    });
    child.on("exit", (code) => failed(new Error(`the demo ended with ${code}: ${output}`)));
  });
  return { address, stop: () => new Promise((done) => { child.on("exit", done); child.kill("SIGKILL"); }) };
}

async function opened(browser, address, options = {}) {
  const page = await browser.newPage(options);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.message));
  await page.goto(address);
  await ranked(page);
  return page;
}

const ranked = (page) => page.waitForFunction(() => document.querySelectorAll("#top tbody tr").length === 10 && document.querySelector("#top .note").textContent.includes("final"));
const cells = (page, where) => page.$$eval(`${where} tbody tr`, (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim())));
const whole = new Intl.NumberFormat("en");

test("the numbers on the page are the API's", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  // The rows and the end of their window in one read, and the API by that end: windows that are sealed meanwhile change nothing.
  const [shown, note] = await page.$eval("#top", (top) => [
    [...top.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent.trim())),
    top.querySelector(".note").textContent,
  ]);
  const [, clock] = /window ending (\d\d:\d\d:\d\d) UTC/.exec(note);
  const api = async (path) => (await fetch(`${shop.address}/api/v1/${path}`)).json();
  const ends = (await api("windows")).windows.map((window) => window.window_end);
  const end = ends.filter((end) => new Date(end).toISOString().slice(11, 19) === clock);
  assert.equal(end.length, 1, `${note} ${ends}`);
  const top = await api(`top?window=${end[0]}`);
  const expected = top.pages.map((entry) => [String(entry.rank), entry.page_url.replace(/^https?:\/\/[^/]+/, "") || "/", whole.format(entry.view_count)]);
  assert.deepEqual(shown.map((row) => [row[0], row[2], row[3]]), expected);
});

/**
 * A page over a fake gateway: `answers` by path under /api/v1, `messages` of the WebSocket by topic.
 * @returns the page; `page.push(message)` sends one more.
 */
async function faked(browser, shop, answers, values, path = "/", options = {}) {
  const page = await browser.newPage(options);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.message));
  const pipelines = [{ name: "fake", window_size_ms: 300_000, window_slide_ms: 10_000, out_of_orderness_ms: 30_000, ranking_top: 10 }];
  await page.route("**/api/v1/**", (route) => {
    const url = new URL(route.request().url());
    const answer = { pipelines: { pipelines }, ...answers }[url.pathname.replace("/api/v1/", "")];
    const body = typeof answer === "function" ? answer(url.searchParams) : answer;
    route.fulfill(body ? { json: body } : { status: 404, json: { detail: "no window is sealed yet" } });
  });
  await page.routeWebSocket("**/api/v1/live", (socket) => {
    const send = (message) => socket.send(JSON.stringify({ sequence: 1, ...message }));
    page.push = send;
    send({ type: "hello", at: Date.now() });
    socket.onMessage((text) => {
      for (const topic of JSON.parse(text).topics ?? []) if (values[topic]) send({ type: "value", topic, value: values[topic] });
    });
  });
  await page.goto(shop.address + path);
  return page;
}

const health = (more = {}) => ({ partitions: 1, expected_partitions: 1, watermark: Date.now() - 30_000, heard: Date.now(), lag: 0, counted: 9, late: 0, dead_letters: 0, partly_late: 0, misplaced: 0, ended: false, warnings: [], ...more });
const counts = (views, users = 1) => ({ view_count: views, click_count: 0, cart_count: 0, conversion_count: 0, unique_users: users });
const site = (now, more = {}) => ({ window_start: Date.now() - 300_000, window_end: Date.now(), as_of: Date.now(), filling: false, covered_ms: 300_000, page_count: 1, now, ...more });
const tile = (page, name) => page.$$eval(".tile", (all, name) => all.map((one) => [...one.children].map((part) => part.textContent)).find(([title]) => title === name), name);
const sealed = (end, views, more = {}) => ({ window_start: end - 300_000, window_end: end, complete: true, filling: false, covered_ms: 300_000, page_count: 1, site: { ...counts(views), engagement_rate: 0, bounce_rate: 0, visits: 3, bounces: 1 }, ...more });

test("a rate is per minute since the first event", async (browser, shop) => {
  const page = await faked(browser, shop, {}, { site: site(counts(4_200), { filling: true, covered_ms: 60_000 }), health: health() });
  await page.waitForFunction(() => document.querySelector(".tile:nth-child(2) b")?.textContent === "4,200");
  assert.deepEqual(await tile(page, "Views per minute"), ["Views per minute", "4,200", "provisional, first 1 min 0 s", ""]);
  const full = await faked(browser, shop, {}, { site: site(counts(4_200)), health: health() });
  await full.waitForFunction(() => document.querySelector(".tile:nth-child(2) b")?.textContent === "840");
  const early = await faked(browser, shop, {}, { site: site(counts(3), { filling: true, covered_ms: 2_000 }), health: health() });
  await early.waitForFunction(() => document.querySelector(".tile small")?.textContent.startsWith("provisional"));
  assert.equal((await tile(early, "Views per minute"))[1], "–", "too short for a rate");
});

test("the chart marks windows that are filling and draws nothing across gaps", async (browser, shop) => {
  const last = Math.floor(Date.now() / 10_000) * 10_000 - 40_000;
  const windows = [sealed(last - 400_000, 1, { filling: true, covered_ms: 10_000 }), ...[-60, -50, -10, 0].map((seconds) => sealed(last + seconds * 1_000, 5))];
  const page = await faked(browser, shop, { windows: { windows } }, { site: site(counts(1)), health: health() });
  await page.waitForFunction(() => document.querySelector("#series .note").textContent.includes("Gaps"));
  assert.match(await page.textContent("#series .note"), /Dotted: filling, the window begins before the first event/);
  const line = await page.getAttribute(".tile path", "d");
  assert.equal(line.split("M").length - 1, 2, `two pieces, and nothing of the window that is filling: ${line}`);
  await page.click("#series summary");
  await page.waitForFunction(() => document.querySelectorAll("#series .stack tbody tr").length > 0);
  assert.deepEqual((await cells(page, "#series .stack")).map((row) => row[7]), ["provisional", "final", "final", "final", "final", "final, filling"]);
  const whole = await faked(browser, shop, { windows: { windows: windows.slice(1, 3) } }, { site: {}, health: health() });
  await whole.waitForFunction(() => document.querySelector("#series .note").textContent.includes("whole"));
  assert.doesNotMatch(await whole.textContent("#series .note"), /Gaps|Dotted/);
});

test("a path resolves to the one page that has it, or an error is shown", async (browser, shop) => {
  const page = await browser.newPage();
  await page.goto(`${shop.address}/?page=/cart`);
  await page.waitForFunction(() => new URL(location.href).searchParams.get("page") === "https://shop.example/cart");
  await page.waitForFunction(() => /^[1-9]/.test(document.querySelector(".tile b")?.textContent ?? ""));
  const none = await browser.newPage();
  await none.goto(`${shop.address}/?page=/no-such-page`);
  await none.waitForFunction(() => document.getElementById("filter").textContent.includes("no window held here has an event of the page `/no-such-page`"));
  await none.waitForTimeout(500);
  const values = await none.$$eval(".tile b", (all) => all.map((one) => one.textContent));
  assert.deepEqual([...new Set(values)], ["–"], "no zeros for an unknown page");
});

test("paging stays in one window and offers newer ones", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.waitForFunction(() => !document.querySelector("#all p button:nth-of-type(2)").disabled);
  await page.click("#all p button:nth-of-type(2)");
  await page.waitForFunction(() => document.querySelector("#all .note").textContent.startsWith("21 to"));
  const note = await page.textContent("#all .note");
  assert.match(note, /It stays while you leaf/);
  await page.waitForSelector("#all p button:nth-of-type(3):not([hidden])");
  assert.equal(await page.textContent("#all .note"), note);
  await page.click("#all p button:nth-of-type(3)");
  await page.waitForFunction((before) => { const now = document.querySelector("#all .note").textContent; return now.startsWith("1 to") && now.slice(-20) !== before.slice(-20); }, note);
});

test("the CSV has the search and order of the page", async (browser, shop) => {
  const page = await opened(browser, `${shop.address}/?q=category&sort=unique_users&order=asc`);
  await page.waitForFunction(() => document.querySelector("#all a[download]").href.includes("q=category"));
  const csv = await (await fetch(await page.$eval("#all a[download]", (link) => link.href))).text();
  const [head, ...lines] = csv.trim().split("\r\n");
  assert.match(head, /^page_url,.*,window_start,window_end$/);
  assert.ok(lines.length > 0 && lines.every((line) => line.includes("category")));
  const users = lines.map((line) => Number(line.split(",")[2]));
  assert.deepEqual(users, [...users].sort((a, b) => a - b));
});

test("an unknown sort column is replaced, with a notice", async (browser, shop) => {
  const page = await opened(browser, `${shop.address}/?sort=nonsense`);
  await page.waitForFunction(() => document.querySelectorAll("#all tbody tr").length > 0);
  assert.match(await page.textContent("#all .note"), /no column “nonsense” to sort by/);
});

test("a log that has ended is not shown as live", async (browser, shop) => {
  const ahead = Date.now() + 200_000;
  const page = await faked(browser, shop, {}, { site: site(counts(1)), health: health({ ended: true, watermark: ahead, heard: Date.now() - 60_000 }) });
  await page.waitForFunction(() => document.getElementById("strip").textContent.includes("log ended"));
  const text = await page.textContent("#strip");
  assert.match(text, /sealed ahead of the clock/);
  assert.doesNotMatch(text, /live|stale|0 s behind/);
  const fast = await faked(browser, shop, {}, { site: site(counts(1)), health: health({ watermark: ahead }) });
  await fast.waitForFunction(() => document.getElementById("strip").textContent.includes("ahead of the clock"));
});

test("a silent site has no visitors and is not stale", async (browser, shop) => {
  const page = await faked(browser, shop, {}, { site: site(counts(0, 0)), health: health({ heard: Date.now() - 600_000 }) });
  await page.waitForFunction(() => document.getElementById("strip").textContent.includes("no events for 5 min"));
  assert.equal((await tile(page, "Active now"))[1], "0");
  const dead = await faked(browser, shop, {}, { site: site(counts(5)), health: health({ heard: Date.now() - 600_000 }) });
  await dead.waitForFunction(() => document.getElementById("strip").textContent.includes("stale for"));
});

test("partly late and misplaced events are shown", async (browser, shop) => {
  const page = await faked(browser, shop, {}, { site: site(counts(1)), health: health({ partly_late: 2_779, misplaced: 66, warnings: ["fake.live cannot be read: gone"] }) });
  await page.waitForFunction(() => document.getElementById("strip").textContent.includes("partly late 2,779"));
  const text = await page.textContent("#strip");
  assert.match(text, /in the wrong partition 66/);
  assert.match(text, /incomplete/);
});

test("a screen reader gets few announcements", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  const announcements = await page.evaluate(async () => {
    let count = 0;
    const live = "output, [role=status], [role=alert], [aria-live]";
    new MutationObserver((changes) => {
      for (const { target } of changes) count += (target.parentElement ?? target).closest?.(live) || target.closest?.(live) ? 1 : 0;
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
    await new Promise((done) => setTimeout(done, 10_000));
    return count;
  });
  assert.ok(announcements <= 1, `${announcements} announcements in 10 s`);
});

test("no column is out of sight on a narrow screen", async (browser, shop) => {
  for (const width of [390, 768]) {
    const page = await opened(browser, shop.address, { viewport: { width, height: 1_200 } });
    await page.click("#series summary");
    await page.waitForFunction(() => document.querySelectorAll("#series .stack tbody tr").length > 0 && document.querySelectorAll("#all tbody tr").length > 0);
    const outside = await page.$$eval("#all td, #all th, #series .stack td, #series .stack th, #top td, #log td", (all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth || one.getBoundingClientRect().width === 0).length);
    assert.equal(outside, 0, `${width} px`);
    await page.screenshot({ path: `${pictures}/${width}.png`, fullPage: true });
  }
});

test("the API's page has the colours of the dashboard", async (browser, shop) => {
  const page = await opened(browser, shop.address, { colorScheme: "light" });
  const background = () => getComputedStyle(document.body).backgroundColor;
  await page.click("#theme");
  const dark = await page.evaluate(background);
  await page.goto(`${shop.address}/docs`);
  await page.waitForSelector("article");
  assert.equal(await page.evaluate(background), dark);
  await page.screenshot({ path: `${pictures}/docs.png` });
  await page.click("#theme");
  assert.notEqual(await page.evaluate(background), dark);
});

test("six tiles show whether they are provisional or final", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.waitForFunction(() => document.querySelectorAll(".tile").length === 6);
  const from = await page.$$eval(".tile small", (all) => all.map((one) => one.textContent));
  for (const text of from) assert.match(text, /^(provisional|final at \d\d:\d\d:\d\d)(, first .*)?$/);
  assert.ok(from.some((text) => text.startsWith("final")));
});

test("a row filters everything and the URL keeps the filter", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.click("#top tbody tr:nth-child(2) button");
  const chosen = await page.getAttribute("#top tbody button[aria-pressed=true]", "title");
  assert.equal(new URL(page.url()).searchParams.get("page"), chosen);
  await page.waitForFunction((url) => document.getElementById("filter").textContent.includes(url), chosen);
  const series = await (await fetch(`${shop.address}/api/v1/series?limit=1&page=${encodeURIComponent(chosen)}`)).json();
  assert.equal(series.page_url, chosen);
  await page.reload();
  await ranked(page);
  assert.ok((await page.textContent("#filter")).includes(chosen), "kept over a reload");
  await page.goBack();
  await page.waitForFunction(() => document.getElementById("filter").hidden);
});

test("pages are searched and ordered", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.fill("#find", "CATEGORY");
  await page.waitForFunction(() => [...document.querySelectorAll("#all tbody tr")].every((row) => row.textContent.includes("category")));
  assert.equal(new URL(page.url()).searchParams.get("q"), "CATEGORY");
  await page.click("#all th:nth-child(3) button");
  await page.waitForSelector("#all th:nth-child(3)[aria-sort=descending]");
  const users = (await cells(page, "#all")).map((row) => Number(row[2].replaceAll(",", "")));
  assert.deepEqual(users, [...users].sort((a, b) => b - a));
});

test("everything can be done with the keyboard", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "find");
  await page.focus("#top tbody tr:first-child button");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => !document.getElementById("filter").hidden);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.getElementById("filter").hidden);
  await page.focus("#series summary");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#series .stack tbody tr").length > 0);
});

test("the event log can be stopped", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.waitForFunction(() => document.querySelectorAll("#log tbody tr").length > 5);
  await page.click("#log button");
  const first = await cells(page, "#log");
  await page.waitForTimeout(1_500);
  assert.deepEqual(await cells(page, "#log"), first);
});

test("the page shows that the gateway is unreachable, and reconnects by itself", async (browser) => {
  let shop = await demo("127.0.0.1:0");
  const page = await opened(browser, shop.address);
  await shop.stop();
  await page.waitForFunction(() => document.getElementById("strip").textContent.includes("reconnecting"));
  await page.waitForFunction(() => document.querySelector(".tile").classList.contains("stale"));
  shop = await demo(shop.address.replace("http://", ""));
  await page.waitForFunction(() => !document.getElementById("strip").textContent.includes("reconnecting"));
  await shop.stop();
});

test("no accessibility violations in light, dark and on a phone", async (browser, shop) => {
  const looks = {
    light: { colorScheme: "light", viewport: { width: 1280, height: 1400 } },
    dark: { colorScheme: "dark", viewport: { width: 1280, height: 1400 } },
    phone: { colorScheme: "light", viewport: { width: 390, height: 844 } },
  };
  for (const [name, options] of Object.entries(looks)) {
    const page = await opened(browser, shop.address, { ...options, bypassCSP: true });
    await page.waitForFunction(() => document.querySelectorAll("#log tbody tr").length > 5);
    await page.screenshot({ path: `${pictures}/${name}.png` });
    await page.addScriptTag({ path: axe });
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target).join(" ")}`), [], name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.ok(!wide, `${name}: nothing overflows horizontally`);
  }
});

test("the API's page sends requests", async (browser, shop) => {
  const page = await browser.newPage();
  page.errors = [];
  await page.goto(`${shop.address}/docs`);
  const article = page.locator("article", { hasText: "GET /api/v1/pipelines" }).first();
  await article.locator("button").click();
  await page.waitForFunction(() => [...document.querySelectorAll("pre")].some((one) => one.textContent.includes('"name": "shop"')));
});

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"] });
const shop = await demo("127.0.0.1:0");
let [ran, failed] = [0, 0];
for (const [name, run] of tests.filter(([name]) => name.includes(process.env.ONLY ?? ""))) {
  ran += 1;
  const pages = [];
  try {
    const newPage = async (options) => {
      const page = await browser.newPage(options);
      pages.push(page);
      if (process.env.DIST) {
        await page.route(/\/(app|docs)\.(js|css)$/, (route) => route.fulfill({ path: join(process.env.DIST, new URL(route.request().url()).pathname) }));
      }
      return page;
    };
    const proxy = { newPage };
    await run(proxy, shop);
    for (const page of pages) assert.deepEqual(page.errors ?? [], [], "no error in the page");
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  } finally {
    await Promise.all(pages.map((page) => page.close()));
  }
}
await browser.close();
await shop.stop();
console.log(`${ran - failed} of ${ran} passed`);
process.exit(failed > 0 ? 1 : 0);
