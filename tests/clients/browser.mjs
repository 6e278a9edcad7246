// A Chromium and the shops whose pages it shows, driven over standard input: tests/it/harness/browser.rs is the driver.
//
// A line of JSON is an order, and is answered by a line of JSON in its turn:
//   {"open": URL, "shop": {…}}   a new page, in a profile of its own; `shop` is what its scripts find as window.shop
//   {"page": 0, "run": CODE}     what CODE comes to there, once it is settled
//   {"page": 0, "reload": true}
//   {"page": 0, "console": true} what the page's console shows so far, a text per line
//   {"page": 0, "asked": true}   the address of each request that it has sent so far
// The first line that is printed says at which port the shops are: every name below `localhost` is one, so that pages of
// several origins are at hand. `pages/` holds what they serve; what is written in JSX is bundled on the way.
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

// The modules are installed beside the folder this is run in, not beside this file.
const require = createRequire(`${process.cwd()}/`);
const { build } = require("esbuild");
const { chromium } = require("playwright-core");

const pages = fileURLToPath(new URL("pages", import.meta.url));
const types = { ".html": "text/html; charset=utf-8", ".mjs": "text/javascript", ".jsx": "text/javascript" };

const bundled = async (file) => {
  const { outputFiles } = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    format: "esm",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    nodePaths: [join(process.cwd(), "node_modules")],
  });
  return outputFiles[0].contents;
};

const shops = createServer(async ({ url }, answer) => {
  const name = url.split("?")[0].slice(1);
  try {
    const file = join(pages, name);
    const content = extname(name) === ".jsx" ? await bundled(file) : await readFile(file);
    answer.writeHead(200, { "Content-Type": types[extname(name)] }).end(content);
  } catch {
    answer.writeHead(404).end();
  }
}).listen(0, "127.0.0.1");
await new Promise((resolve) => shops.once("listening", resolve));

const browser = await chromium.launch({
  executablePath: execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim(),
  // Root has no sandbox. The others keep it quiet: it is to speak with nobody but the tests.
  chromiumSandbox: process.getuid() !== 0,
  args: [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

const opened = [];
const open = async (url, shop) => {
  const page = await (await browser.newContext()).newPage();
  const shown = [];
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("console", (message) => shown.push(message.text()));
  page.on("pageerror", (error) => shown.push(String(error)));
  await page.addInitScript((shop) => (window.shop = shop), shop);
  await page.goto(url);
  return opened.push({ page, shown, asked }) - 1;
};

const obey = async (order) => {
  if (order.open) return open(order.open, order.shop);
  const { page, shown, asked } = opened[order.page];
  if (order.reload) return (await page.reload()) && null;
  if (order.console) return shown;
  if (order.asked) return asked;
  return (await page.evaluate(order.run)) ?? null;
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ done: shops.address().port });
for await (const line of createInterface({ input: process.stdin })) {
  await obey(JSON.parse(line)).then((done) => say({ done }), (error) => say({ failed: String(error) }));
}
await browser.close();
process.exit();
