/** For vitest, once before the tests: the console's page is there, and as its sources are. */
import { buildPageIfOlder } from '../../build.ts';

export default buildPageIfOlder;
