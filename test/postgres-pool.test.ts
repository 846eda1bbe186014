import { expect, test, vi } from 'vitest';
import { createLog } from '../src/log/log.ts';
import { createPostgres } from '../src/postgres/connection/pool.ts';

test('an idle connection that breaks is told, unless the pool has ended', async () => {
  const log = createLog('silent');
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const { pool } = createPostgres({ url: 'postgres://weir@127.0.0.1:1/weir', maxConnections: 1 }, log);
  pool.emit('error', new Error('terminating connection'), undefined);
  expect(warn).toHaveBeenCalledTimes(1);
  await pool.end();
  pool.emit('error', new Error('terminating connection'), undefined);
  expect(warn).toHaveBeenCalledTimes(1);
});
