import type { Clock } from '../../runtime/clock.ts';

export type Column = {
  readonly name: string;
  readonly type: string;
  /** `DEFAULT`, `MATERIALIZED`, `EPHEMERAL`, `ALIAS`, or empty. */
  readonly default_kind: string;
  readonly default_expression: string;
};

/** An expression that every row has to meet. */
export type Constraint = { readonly name: string; readonly expression: string };

/** What of a table decides which rows it takes. */
export type TableShape = {
  /** Those that rows carry. */
  readonly carried: readonly Column[];
  /** All others. */
  readonly computed: readonly Column[];
  readonly constraints: readonly Constraint[];
};

export type TableShapeReader = {
  /** The shape as it was at most five seconds ago. Throws `InsertFailure`. */
  read(): Promise<TableShape>;
  /** The table may have changed: the next `read` asks. */
  forget(): void;
};

/** The rows of a query. Throws `InsertFailure`. */
type Ask = <Row>(query: string, params: Record<string, unknown>) => Promise<Row[]>;

const FRESH_MS = 5_000;

/** Reads the shape of `database`.`table`, of whose columns rows carry `carried`. */
export function createTableShapeReader(
  { ask, clock }: { ask: Ask; clock: Clock },
  { database, table, carried }: { database: string; table: string; carried: readonly string[] },
): TableShapeReader {
  let known: { shape: TableShape; at: number } | null = null;

  return {
    async read() {
      if (known && clock.elapsed() - known.at < FRESH_MS) return known.shape;
      const at = clock.elapsed();
      const rows = await ask<Column & { constraint_expression: string | null }>(
        `SELECT * FROM (
           SELECT name, type, default_kind, default_expression, NULL AS constraint_expression, position
           FROM system.columns WHERE database = {database:String} AND table = {table:String}
           UNION ALL
           SELECT name, '', '', '', expression, 0
           FROM system.constraints WHERE database = {database:String} AND table = {table:String} AND type = 'CHECK'
         ) ORDER BY position`,
        { database, table },
      );
      const constraints = rows.flatMap(({ name, constraint_expression: expression }) =>
        expression === null ? [] : [{ name, expression }],
      );
      const columns = rows.filter((row) => row.constraint_expression === null);
      const isCarried = ({ name }: Column) => carried.includes(name);
      const shape = {
        carried: columns.filter(isCarried),
        computed: columns.filter((column) => !isCarried(column)),
        constraints,
      };
      known = { shape, at };
      return shape;
    },
    forget: () => {
      known = null;
    },
  };
}
