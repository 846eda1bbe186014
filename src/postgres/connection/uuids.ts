import type { SQL } from 'drizzle-orm';
import { sql } from './drizzle.ts';

/** The ids as one parameter. */
export const uuids = (ids: readonly string[]): SQL => sql`${sql.param([...ids])}::uuid[]`;
