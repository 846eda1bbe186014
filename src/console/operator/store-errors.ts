import { explainFailure as explainClickHouse } from '../../clickhouse/connection/connection-errors.ts';
import { NotClickHouse } from '../../clickhouse/connection/verified-answers.ts';
import { OperationRefused } from '../../operations/refused.ts';
import { explainFailure as explainPostgres } from '../../postgres/connection/connection-errors.ts';
import { PostgresFailure } from '../../postgres/connection/errors.ts';

/** Why an action did not come to its end, in words without event data; null for a bug, which belongs in the log. */
export function explainError(error: unknown): string | null {
  if (error instanceof OperationRefused) return error.message;
  if (error instanceof PostgresFailure) return `${explainPostgres(error)}.`;
  // Errors of the driver carry a code.
  const isDrivers = error instanceof Error && typeof (error as { code?: unknown }).code === 'string';
  return isDrivers || error instanceof NotClickHouse ? `${explainClickHouse(error)}.` : null;
}
