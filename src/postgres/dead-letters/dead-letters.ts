/**
 * The dead-letter table as the pipeline sees it. Each operation is one short
 * statement or transaction; nothing here waits for the network of another store.
 */
import type { Log } from '../../log/log.ts';
import type { DeadLetterStore } from '../../pipeline/dead-letter-port.ts';
import type { Database } from '../connection/pool.ts';
import { createClaimedDeadLetters } from './claimed-dead-letters.ts';
import { measureDepth } from './depth.ts';
import { type DiskRoom, UNTENDED } from './disk-room.ts';
import { createRoomWrites } from './room-writes.ts';
import { createSpilledBatches } from './spilled-batches.ts';

export function createDeadLetters(db: Database, log: Log, room: DiskRoom = UNTENDED): DeadLetterStore {
  const write = createRoomWrites(room);
  return {
    ...createSpilledBatches(db, { room, write }),
    ...createClaimedDeadLetters(db, { log, room, write }),
    measure: () => measureDepth(db),
  };
}
