/**
 * Runs inside a process of its own: loads ClickHouse as a library and lets it
 * listen. Arguments: the library's path, then ClickHouse's own.
 */
import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { DataType, load, open } from 'ffi-rs';
import { systemClock } from '../runtime/clock.ts';
import { pidLine } from './pid-line.ts';

/**
 * About a quarter of the machine when other processes want all of it: a waiting client comes before merges (decision
 * 19).
 */
const NICENESS = 5;

// A full disk under the log, or a Weir that is gone: neither is a reason to take the data away from clients.
process.stderr.on('error', () => {});
process.stdout.on('error', () => {});

const [libraryPath = '', ...args] = process.argv.slice(2);

// ClickHouse's threads do not return, so nothing gentler ends this process. That is safe: a part becomes visible only
// once it is complete, before the insert is answered.
process.stdin.on('end', () => process.kill(process.pid, 'SIGKILL')).resume();

void giveWay();
process.stdout.write(pidLine(process.pid));

open({ library: 'chdb', path: libraryPath });
await load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.I64,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
  runInNewThread: true,
});
// It returns only when it could not start, and has then printed the reason.
process.exit(1);

/** As far as the system allows. The threads that ClickHouse starts inherit what is set before the first pause. */
async function giveWay() {
  try {
    setPriority(NICENESS);
  } catch {
    // Otherwise it keeps the priority of any other process.
  }
  // It has a session of its own, and many Linux systems weigh sessions before what is in them (autogroup in sched(7)).
  // A user other than root has to retry: the system accepts one such change in a tenth of a second, over all sessions.
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      return writeFileSync('/proc/self/autogroup', String(NICENESS));
    } catch {
      await systemClock.sleep(150);
    }
  }
}
