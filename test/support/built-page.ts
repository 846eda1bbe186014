/** For vitest, once before the tests: the console's page is there, and as its sources are. */
import { buildPageIfOlder } from '../../build.ts';

/** Outside CI, only the page's own tests fail without it. */
export default async function build(): Promise<void> {
  if (await buildPageIfOlder()) return;
  const missing =
    'The console’s page is not built: what it is made of is not installed. `npm ci --strict-allow-scripts` does.';
  if (process.env['CI']) throw new Error(missing);
  console.warn(missing);
}
