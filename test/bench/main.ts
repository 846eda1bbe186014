/** `npm run bench`. */
import { SCENARIOS } from './scenarios.ts';

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
for (const { name, run } of SCENARIOS) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const say = (text: string) => process.stderr.write(`${name}: ${text}\n`);
  for (const figure of await run({ isQuick: process.argv.includes('--quick'), seed: 1, say })) {
    console.log(name, figure);
  }
}
process.exit();
