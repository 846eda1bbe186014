/**
 * For vitest, once before the tests: what production runs and the console's page are there, and as their sources are. A
 * Weir that a test starts is the built one (support/weir.ts), which takes half the processor time to start.
 */
import { buildPageIfOlder, buildServiceIfOlder } from '../../build.ts';

/** Outside CI, only the tests that start a Weir or read the page fail without them. */
export default async function build(): Promise<void> {
  const missing = [
    ...((await buildServiceIfOlder()) ? [] : ['The service']),
    ...((await buildPageIfOlder()) ? [] : ['The console’s page']),
  ];
  if (missing.length === 0) return;
  const message = `${missing.join(' and ')}: not built, since what builds it is not installed. \`npm ci --strict-allow-scripts\` does.`;
  if (process.env['CI']) throw new Error(message);
  console.warn(message);
}
