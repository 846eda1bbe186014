/** A browser for the console's page, and what is asked of every page. */
import axe from 'axe-core';
import { type Browser, type Page, chromium } from 'playwright-core';
import { findChromium } from './sdk-app.ts';

/** Starts the browser of this machine. It has no sandbox: tests often run as root. */
export const startChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: findChromium()!, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

type Result = {
  readonly id: string;
  readonly nodes: { readonly target: unknown[]; readonly failureSummary?: string }[];
};

/** What axe finds wrong with the page as it stands, one line a finding. */
export async function axeFindings(page: Page): Promise<string[]> {
  // Not as an element of the page, whose policy runs nothing that is not its own.
  await page.evaluate(axe.source);
  const violations = await page.evaluate<Result[]>('axe.run().then(({ violations }) => violations)');
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary ?? ''}`),
  );
}

/** By how many pixels the page is wider than its window. */
export const overflowOf = (page: Page): Promise<number> =>
  page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');

/** What a page's main thread did since `followWork`. */
export type PageWork = {
  /** Processor time. */
  readonly busyMs: number;
  /** Time in tasks of 50 ms or more, by the clock: whoever clicked meanwhile waited. */
  readonly blockedMs: number;
};

/** Follows how much a page works, from now on and from the beginning of every page that is loaded into it. */
export async function followWork(page: Page): Promise<() => Promise<PageWork>> {
  const watch = `globalThis.blockedMs = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) globalThis.blockedMs += duration;
    }).observe({ type: 'longtask', buffered: true });`;
  await page.addInitScript(watch);
  await page.evaluate(watch);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const busyMs = async () => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration')!.value * MS;
  };
  const before = await busyMs();
  return async () => ({
    busyMs: (await busyMs()) - before,
    blockedMs: await page.evaluate<number>('globalThis.blockedMs'),
  });
}

const MS = 1_000;
