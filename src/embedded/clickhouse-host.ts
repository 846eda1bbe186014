/**
 * Runs inside a process of its own: loads ClickHouse as a library and lets it
 * listen. Arguments: the library's path, then ClickHouse's own.
 */
import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { DataType, load, open } from 'ffi-rs';
import { systemClock } from '../clock.ts';

/** About a quarter of the machine where others want all of it: who waits for an answer comes before merges (decision 19). */
const NICENESS = 5;

const [libraryPath = '', ...args] = process.argv.slice(2);

// ClickHouse's threads do not return, so nothing gentler ends this process.
// That is safe: a part is visible only once it is complete, before the insert is answered.
process.stdin.on('end', () => process.kill(process.pid, 'SIGKILL')).resume();

void giveWay();
process.stdout.write(`${process.pid}\n`);

open({ library: 'chdb', path: libraryPath });
await load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.I64,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
  runInNewThread: true,
});
// It returns only when it could not start; it has printed why.
process.exit(1);

/** As far as the system lets it. The threads that ClickHouse starts inherit what is set before the first pause. */
async function giveWay() {
  try {
    setPriority(NICENESS);
  } catch {
    // Then it is as important as anybody.
  }
  // It has a session of its own, and many a Linux weighs sessions before it weighs what is in them (autogroup in sched(7)).
  // Who is not root has to try again: the system takes one such change in a tenth of a second, of all sessions together.
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      return writeFileSync('/proc/self/autogroup', String(NICENESS));
    } catch {
      await systemClock.sleep(150);
    }
  }
}
