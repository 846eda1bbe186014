import type { TopicWriter } from './topic-port.ts';

/** The writer for several who append to the same partitions: one append to each is under way at a time. */
export function serialWriter<Writer extends Pick<TopicWriter, 'append'>>(writer: Writer): Writer {
  const tails = new Map<number, Promise<void>>();

  return {
    ...writer,
    append(partition, entry) {
      const before = tails.get(partition);
      const append = () => writer.append(partition, entry);
      const done = before === undefined ? append() : before.then(append, append);
      const tail: Promise<void> = done.then(leave, leave);
      tails.set(partition, tail);
      return done;

      function leave() {
        if (tails.get(partition) === tail) tails.delete(partition);
      }
    },
  };
}
