import { SETTING_NAMES, SETTINGS, type SettingName } from './settings.ts';

/** The text of `.env.example`: every setting with its description and default. */
export function envExample(): string {
  return `${HEAD}${SETTING_NAMES.map(entry).join('\n')}`;
}

const HEAD = `# Every setting of Weir with its default. Copy this file to .env and uncomment what you change.
# weir.toml may use the same names; the environment overrides the file. Empty means unset.
# With NODE_ENV=production DATABASE_URL and CLICKHOUSE_URL are required; with EVENT_STORE=postgres DATABASE_URL alone.

`;

function entry(name: SettingName): string {
  const { description, default: fallback, kind } = SETTINGS[name];
  return `# ${description}\n# Accepted: ${kind.accepts}\n# ${name}=${fallback}\n`;
}
