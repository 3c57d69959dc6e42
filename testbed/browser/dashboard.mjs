// The dashboard in a real browser, over the demo: numbers, filter, reconnecting, keyboard, accessibility, pictures.
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

/** A demo on a port; ends with stop(). */
async function demo(listen) {
  const process_ = spawn(process.env.WEIR, ["demo", "--speed", "60", "--listen", listen], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  const address = await new Promise((found, failed) => {
    process_.stdout.on("data", (data) => {
      said += data;
      const match = /http:\/\/([\d.:]+)\//.exec(said);
      if (match) found(match[1]);
    });
    process_.on("exit", (code) => failed(new Error(`the demo ended with ${code}: ${said}`)));
  });
  const stop = () => new Promise((done) => { process_.on("exit", done); process_.kill("SIGKILL"); });
  return { address, stop };
}

const api = async (address, path) => (await fetch(`http://${address}/api/v1/${path}`)).json();
const rows = (page) => page.locator("#top tbody tr");
const live = (page) => page.waitForFunction(() => /^live; sealed/.test(document.getElementById("freshness").textContent));

test("numbers on the page are the API's", async (browser, shop) => {
  const page = await browser.newPage();
  await page.goto(`http://${shop.address}/`);
  await live(page);
  // A window may be sealed between the two looks: try until both speak of the same.
  for (let attempt = 0; ; attempt++) {
    const top = await api(shop.address, "top");
    const shown = await page.evaluate(() => ({
      end: state.top.window_end,
      cells: [...document.querySelectorAll("#top tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
    }));
    if (shown.end !== top.window_end && attempt < 50) continue;
    assert.equal(shown.end, top.window_end);
    const number = (n) => new Intl.NumberFormat("en").format(n);
    assert.deepEqual(shown.cells.map((cells) => [cells[0], cells[2], cells[3], cells[4]]),
      top.pages.map(({ rank, page }) => [String(rank), page.page_url, number(page.view_count), number(page.unique_users)]));
    break;
  }
  assert.match(await page.locator("#open-title").textContent(), /provisional/);
  assert.equal(await page.locator("#tiles dd").count(), 6);
});

test("a filter is in the address and survives a reload", async (browser, shop) => {
  const page = await browser.newPage();
  await page.goto(`http://${shop.address}/`);
  await live(page);
  await page.locator("#filter").fill("cart");
  await page.waitForFunction(() => document.querySelectorAll("#top tbody tr").length < 10);
  assert.match(page.url(), /#filter=cart$/);
  await page.reload();
  await live(page);
  assert.equal(await page.locator("#filter").inputValue(), "cart");
  for (const text of await rows(page).allTextContents()) assert.match(text, /cart|no ranked page/);
});

test("a row can be chosen with the keyboard", async (browser, shop) => {
  const page = await browser.newPage();
  await page.goto(`http://${shop.address}/`);
  await live(page);
  await page.locator("#filter").focus();
  await page.keyboard.press("Tab");
  const url = await page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#filter").inputValue(), url);
});

test("it says when the gateway is away, and comes back by itself", async (browser) => {
  let shop = await demo("127.0.0.1:0");
  const page = await browser.newPage();
  await page.goto(`http://${shop.address}/`);
  await live(page);
  await shop.stop();
  await page.waitForFunction(() => document.getElementById("freshness").textContent === "reconnecting");
  shop = await demo(shop.address);
  // A new shop in memory starts in the past again, so the page waits for windows newer than those it shows.
  await page.waitForFunction(() => document.getElementById("freshness").textContent.startsWith("live"));
  await shop.stop();
});

test("nothing is in the way of a screen reader, and it can be read in light, dark and on a phone", async (browser, shop) => {
  for (const [name, options] of Object.entries({
    light: { colorScheme: "light", viewport: { width: 1280, height: 900 } },
    dark: { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
    phone: { colorScheme: "light", viewport: { width: 390, height: 844 } },
  })) {
    const context = await browser.newContext({ ...options, bypassCSP: true });
    const page = await context.newPage();
    await page.goto(`http://${shop.address}/`);
    await live(page);
    await page.screenshot({ path: `${pictures}/dashboard-${name}.png` });
    await page.addScriptTag({ path: axe });
    const { violations } = await page.evaluate(() => window.axe.run());
    const told = violations.map((violation) => `${violation.id}: ${violation.help}: ${violation.nodes.map((node) => node.target).join(" ")}`);
    assert.deepEqual(told, [], name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    assert.ok(!wide, `${name}: the page is wider than the screen`);
    await context.close();
  }
});

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const shop = await demo("127.0.0.1:0");
let failed = 0;
for (const [name, run] of tests) {
  try {
    await run(browser, shop);
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}
await shop.stop();
await browser.close();
console.log(`${tests.length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
