/**
 * A member of a group as a process of its own, which can be killed and frozen. It says on stdout what it is given, and
 * commits what it is told on stdin: `partition offset` a line.
 */
import { createInterface } from 'node:readline';
import type { KafkaSettings } from '../../src/config/kafka-settings.ts';
import { startReader, until } from './kafka-reader.ts';

const settings = JSON.parse(process.argv[2]!) as KafkaSettings;
const { tenures } = await startReader(settings);
createInterface(process.stdin).on('line', (line) => {
  const [partition, offset] = line.split(' ').map(Number);
  const tenure = tenures.findLast((tenure) => tenure.partition === partition);
  void tenure?.commit(offset!).then(() => console.log(`committed ${line}`));
});
for (let told = 0; ; told++) {
  const { partition, start } = await until(() => tenures[told]);
  console.log(`taken ${partition} at ${start}`);
}
