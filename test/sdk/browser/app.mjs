/**
 * A page for each client, in Chromium. The pages come from `localhost` while Weir is at 127.0.0.1, so that every request
 * crosses origins. It takes the messages of `../node/app.mjs`, but `end`, which leaves the pages, answers with nothing:
 * `{ told: true }`, answered by `{ sent: { client: marks } }`, asks those clients that tell their page.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const DIRECTORY = fileURLToPath(new URL('.', import.meta.url));
/** The clients in each file. */
const FAMILIES = {
  amplitude: ['amplitude-browser'],
  jitsu: ['jitsu-browser'],
  mixpanel: ['mixpanel-browser'],
  otlp: ['otel-logs-browser'],
  plausible: ['plausible-tracker', 'plausible-tracker-0.3'],
  posthog: ['posthog-js', 'posthog-js-1.400', 'posthog-js-1.360', 'posthog-js-1.172'],
  rudder: ['rudder-browser', 'rudder-browser-batches', 'rudder-browser-beacons'],
  segment: ['segment-browser', 'segment-browser-batches', 'segment-browser-1.76', 'segment-browser-1.76-batches'],
};

const server = createServer((request, answer) => {
  const script = scripts.get(request.url);
  answer.writeHead(200, { 'Content-Type': script === undefined ? 'text/html' : 'text/javascript' });
  answer.end(script ?? '<!doctype html><title>Shop</title>');
}).listen(0, 'localhost');
await once(server, 'listening');
const origin = `http://localhost:${server.address().port}`;
const [scripts, browser] = await Promise.all([
  bundle(),
  chromium.launch({ executablePath: process.env['CHROMIUM'], args: ['--no-sandbox'] }),
]);
/** By the name of the client. */
const pages = new Map();

/** What the families’ files become in a page, by its path. */
async function bundle() {
  const { outputFiles } = await build({
    entryPoints: Object.keys(FAMILIES).map((family) => `${DIRECTORY}${family}.mjs`),
    bundle: true,
    write: false,
    format: 'esm',
    // A page loads but the version that it asks for.
    splitting: true,
    outdir: '/',
    logLevel: 'error',
  });
  return new Map(outputFiles.map(({ path, text }) => [path, text]));
}

/** A client in a page and a storage of its own. */
async function openClient(family, name, { token, urls }) {
  const page = await newPage(name);
  await page.evaluate(
    async ([script, name, url, token]) => {
      const { clients } = await import(script);
      window.outcomes = [];
      window.client = await clients[name](url, token);
    },
    [`${origin}/${family}.js`, name, urls[name], token],
  );
  pages.set(name, page);
}

async function newPage(name) {
  const context = await browser.newContext();
  // A machine that has but a loopback interface counts as offline, and some clients then only queue.
  await context.addInitScript(() => Object.defineProperty(navigator, 'onLine', { get: () => true }));
  const page = await context.newPage();
  page.on('console', (message) => console.log(`${name}: ${message.text()}`));
  page.on('pageerror', (error) => console.log(`${name}: ${error.message}`));
  await page.goto(`${origin}/`);
  return page;
}

/** In a page, once its client has told of each event: the marks of those that were sent. */
async function marksSent() {
  const sent = await Promise.all(window.outcomes.map(async ([mark, outcome]) => ((await outcome) ? [mark] : [])));
  return sent.flat();
}

const steps = {
  async open(asked) {
    await Promise.all([...pages.values()].map((page) => page.context().close()));
    pages.clear();
    const clients = Object.entries(FAMILIES).flatMap(([family, names]) => names.map((name) => [family, name]));
    const wanted = clients.filter(([, name]) => asked.urls[name] !== undefined);
    await Promise.all(wanted.map(([family, name]) => openClient(family, name, asked)));
    return { names: [...pages.keys()], origin };
  },
  async send(marks) {
    const sends = [...pages].map(([name, page]) =>
      page.evaluate((marks) => {
        for (const mark of marks) window.outcomes.push([mark, window.client.send(mark)]);
      }, marks[name]),
    );
    await Promise.all(sends);
    return { handedOver: true };
  },
  async told() {
    const told = [...pages].map(async ([name, page]) => [name, await page.evaluate(marksSent)]);
    return { sent: Object.fromEntries(await Promise.all(told)) };
  },
  async end() {
    await Promise.all([...pages.values()].map((page) => page.goto('about:blank')));
    return { sent: {} };
  },
};

process.on('message', (message) => {
  const [[step, argument]] = Object.entries(message);
  // What fails here ends the app, and the parent says so.
  void Promise.resolve(steps[step](argument)).then((answer) => process.send(answer));
});
process.on('disconnect', () => void browser.close().finally(() => process.exit()));
