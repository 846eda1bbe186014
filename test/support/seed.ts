const given = process.env['SEED'] ?? '1';

/**
 * What the tests draw their cases from. The same in every run, so that a run judges the change and not the day;
 * `SEED=17` draws others, `SEED=random` new ones each time. A failure prints it.
 */
export const SEED = given === 'random' ? Math.floor(Math.random() * 1e9) : Number(given);
if (!Number.isSafeInteger(SEED)) throw new Error(`SEED=${given}: a whole number, or random`);
