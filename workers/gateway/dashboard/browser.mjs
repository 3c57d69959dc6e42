// The dashboard in a real browser, over the demo: `cargo xtask browser`.
// WEIR: the binary. CHROMIUM: the browser. PICTURES: the folder for screenshots.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
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
    let said = "";
    child.stdout.on("data", (data) => {
      said += data;
      const match = /http:\/\/[\d.:]+/.exec(said);
      if (match) found(match[0]);
    });
    child.on("exit", (code) => failed(new Error(`the demo ended with ${code}: ${said}`)));
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
  // A window may be sealed between the two looks: again, until both speak of the same.
  for (let attempt = 0; attempt < 50; attempt++) {
    const top = await (await fetch(`${shop.address}/api/v1/top`)).json();
    const [shown, note] = [await cells(page, "#top"), await page.textContent("#top .note")];
    if (!note.includes(new Date(top.window_end).toISOString().slice(11, 19))) continue;
    const expected = top.pages.map((place) => [String(place.rank), place.page_url.replace(/^https?:\/\/[^/]+/, "") || "/", whole.format(place.view_count)]);
    assert.deepEqual(shown.map((row) => [row[0], row[2], row[3]]), expected);
    return;
  }
  assert.fail("page and API never spoke of the same window");
});

test("six tiles say what is provisional and what is final", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.waitForFunction(() => document.querySelectorAll(".tile").length === 6);
  const from = await page.$$eval(".tile small", (all) => all.map((one) => one.textContent));
  for (const text of from) assert.match(text, /^(provisional|final at \d\d:\d\d:\d\d)$/);
  assert.ok(from.some((text) => text.startsWith("final")));
});

test("a row filters everything and the address says so", async (browser, shop) => {
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
  await page.waitForFunction(() => document.querySelectorAll("#series tbody tr").length > 0);
});

test("the event log can be stopped", async (browser, shop) => {
  const page = await opened(browser, shop.address);
  await page.waitForFunction(() => document.querySelectorAll("#log tbody tr").length > 5);
  await page.click("#log button");
  const first = await cells(page, "#log");
  await page.waitForTimeout(1_500);
  assert.deepEqual(await cells(page, "#log"), first);
});

test("it says that the gateway is away, and comes back by itself", async (browser) => {
  let shop = await demo("127.0.0.1:0");
  const page = await opened(browser, shop.address);
  await shop.stop();
  await page.waitForFunction(() => document.getElementById("strip").textContent.includes("reconnecting"));
  await page.waitForFunction(() => document.querySelector(".tile").classList.contains("stale"));
  shop = await demo(shop.address.replace("http://", ""));
  await page.waitForFunction(() => !document.getElementById("strip").textContent.includes("reconnecting"));
  await shop.stop();
});

test("nothing stands in a screen reader's way, in light, dark and on a phone", async (browser, shop) => {
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
    assert.ok(!wide, `${name}: nothing sticks out sideways`);
  }
});

test("the API's page asks the API", async (browser, shop) => {
  const page = await browser.newPage();
  page.errors = [];
  await page.goto(`${shop.address}/docs`);
  const article = page.locator("article", { hasText: "GET /api/v1/pipelines" }).first();
  await article.locator("button").click();
  await page.waitForFunction(() => [...document.querySelectorAll("pre")].some((one) => one.textContent.includes('"name": "shop"')));
});

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const shop = await demo("127.0.0.1:0");
let failed = 0;
for (const [name, run] of tests) {
  try {
    const pages = [];
    const proxy = { newPage: async (options) => { const page = await browser.newPage(options); pages.push(page); return page; } };
    await run(proxy, shop);
    for (const page of pages) assert.deepEqual(page.errors ?? [], [], "no error in the page");
    await Promise.all(pages.map((page) => page.close()));
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}
await browser.close();
await shop.stop();
console.log(`${tests.length - failed} of ${tests.length} passed`);
process.exit(failed > 0 ? 1 : 0);
