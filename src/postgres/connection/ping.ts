import type { Pool } from 'pg';

/** Whether Postgres answers, and whether it accepts writes. */
export type PostgresProbe = {
  /** Sends one query. Throws what the driver throws when there is no answer. */
  ask(): Promise<void>;
  /**
   * According to the last answer: a hot standby, or `default_transaction_read_only`. Nothing can be written to it, so
   * it keeps no dead letter. False before the first answer.
   */
  isReadOnly(): boolean;
};

/** `onChange` is called when it becomes read-only, and when it accepts writes again. */
export function createPostgresProbe(pool: Pool, onChange: (isReadOnly: boolean) => void): PostgresProbe {
  let readOnly = false;

  return {
    async ask() {
      // This includes standbys: no transaction can write during recovery.
      const { rows } = await pool.query<{ is_read_only: boolean }>(
        `SELECT current_setting('transaction_read_only') = 'on' AS is_read_only`,
      );
      const answered = rows[0]!.is_read_only;
      if (answered === readOnly) return;
      readOnly = answered;
      onChange(answered);
    },
    isReadOnly: () => readOnly,
  };
}
