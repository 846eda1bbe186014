import { expect, test } from 'vitest';
import { READ_LIMITS, SETTING_NAMES, readSettings } from '../src/clickhouse/reading/reader-settings.ts';

test('a query that groups or sorts much goes to disk before its memory is used up, and leaves room there for inserts', () => {
  const settings = readSettings({}, SETTING_NAMES) as Record<string, string>;
  for (const name of ['max_bytes_before_external_group_by', 'max_bytes_before_external_sort']) {
    expect(Number(settings[name])).toBe(READ_LIMITS.maxBytesBeforeDisk);
    // What is taken up to be written, and merged, needs as much again.
    expect(Number(settings[name]) * 3).toBeLessThanOrEqual(Number(settings['max_memory_usage']));
  }
  expect(Number(settings['max_temporary_data_on_disk_size_for_query'])).toBeGreaterThan(READ_LIMITS.maxMemoryBytes);
  expect(Number(settings['min_free_disk_space_for_temporary_data'])).toBeGreaterThan(
    Number(settings['max_temporary_data_on_disk_size_for_query']),
  );
});
