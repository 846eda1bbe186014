/** An app of test/sdk as a process: one with the clients for Node, or a browser with those for pages. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PACKAGES = fileURLToPath(new URL('../sdk/node_modules/.package-lock.json', import.meta.url));
/** Where Debian and others install it. */
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Marks of events, by the name of the client. */
export type Marks = Readonly<Record<string, readonly string[]>>;

export type SdkApp = {
  /**
   * Makes the clients anew. `urls`: where each finds Weir, by its name. Resolves with where the pages come from; null for
   * Node.
   */
  open(urls: Readonly<Record<string, string>>): Promise<string | null>;
  /** Hands the events over; what becomes of them is up to the clients. */
  send(marks: Marks): Promise<void>;
  /** Of pages, which stay open: what each client says was sent, once it has said of each event whether it was. */
  told(): Promise<Marks>;
  /** Closes the clients, or leaves the pages, and resolves with what each counts as sent; a page cannot tell. */
  end(): Promise<Marks>;
  stop(): Promise<void>;
};

/** Whether `npm ci --prefix test/sdk` has been run. */
export const areClientsInstalled = (): boolean => existsSync(PACKAGES);

/** The path of the browser; null when there is none. */
export const findChromium = (): string | null => CHROMIUM.find((file) => existsSync(file)) ?? null;

/** Starts it, with no client yet. They all use `token`. */
export function startSdkApp(kind: 'node' | 'browser', token: string): SdkApp {
  // The settings of whoever runs the tests are not the clients’: a proxy, a key, a mode.
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], CHROMIUM: findChromium() ?? '' };
  const file = fileURLToPath(new URL(`../sdk/${kind}/app.mjs`, import.meta.url));
  const child = fork(file, { stdio: 'pipe', execArgv: [], env });
  let written = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (text: string) => (written += text));
  const exited = once(child, 'exit');

  return {
    async open(urls) {
      const { names, origin = null } = (await ask(child, { open: { token, urls } })) as Opened;
      const missing = Object.keys(urls).filter((name) => !names.includes(name));
      if (missing.length > 0) throw new Error(`no client is called ${missing.join(', ')}`);
      return origin;
    },
    async send(marks) {
      await ask(child, { send: marks });
    },
    async told() {
      return ((await ask(child, { told: true })) as { sent: Marks }).sent;
    },
    async end() {
      return ((await ask(child, { end: true })) as { sent: Marks }).sent;
    },
    async stop() {
      if (child.connected) child.disconnect();
      await exited;
    },
  };

  async function ask(to: ChildProcess, message: object): Promise<unknown> {
    const answered = once(to, 'message');
    to.send(message);
    const [answer] = (await Promise.race([answered, exited.then(ended)])) as [unknown];
    return answer;
  }

  function ended(): never {
    throw new Error(`the app ended by itself:\n${written}`);
  }
}

type Opened = { names: string[]; origin?: string };
