import { defineConfig } from 'vitest/config';

const BUILT = 'test/support/built.ts';

/** Unit tests need no services; integration tests start the embedded stores, each file its own. */
export default defineConfig({
  test: {
    projects: [
      // Generous: how long a test takes says more about what else the machine does.
      { test: { name: 'unit', include: ['test/*.test.ts'], globalSetup: BUILT, testTimeout: 60_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts', 'test/contract/**/*.test.ts', 'test/sdk/*.test.ts'],
          globalSetup: BUILT,
          testTimeout: 300_000,
          hookTimeout: 240_000,
          // Each file has stores and Weirs of its own: more at once, and two cores are too few for what the tests wait for.
          maxWorkers: 3,
          // For what only a busy machine does; `.ci/run` names each test that needed it, and why.
          retry: process.env['CI'] ? 1 : 0,
        },
      },
    ],
  },
});
