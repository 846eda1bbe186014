import { NoRoom } from '../../pipeline/dead-letter-port.ts';
import { answerOf } from '../connection/errors.ts';
import { type DiskRoom, isDiskFull } from './disk-room.ts';

/**
 * As `answerOf`, for statements that need room on the disk. Throws `NoRoom` when there is none, and releases the
 * ballast.
 */
export type WriteInRoom = <T>(query: PromiseLike<T>) => Promise<T>;

export function createRoomWrites(room: DiskRoom): WriteInRoom {
  return async (query) => {
    try {
      return await answerOf(query);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      await room.makeRoom();
      throw new NoRoom({ cause: error });
    }
  };
}
