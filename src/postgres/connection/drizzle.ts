/**
 * Everything that Weir uses of drizzle, as CommonJS. As ES modules its 170 files take half a second to load: for each
 * of them Node reads the package's list of exports again, which is 180 kB long.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

export const { and, asc, desc, eq, getTableName, inArray, isNull, lt, or, sql } =
  require('drizzle-orm') as typeof import('drizzle-orm');
export const { DrizzleQueryError } = require('drizzle-orm/errors') as typeof import('drizzle-orm/errors');
export const { drizzle } = require('drizzle-orm/node-postgres') as typeof import('drizzle-orm/node-postgres');
export const { readMigrationFiles } = require('drizzle-orm/migrator') as typeof import('drizzle-orm/migrator');
export const { bigint, boolean, check, customType, index, integer, jsonb, pgTable, text, timestamp, uuid } =
  require('drizzle-orm/pg-core') as typeof import('drizzle-orm/pg-core');
