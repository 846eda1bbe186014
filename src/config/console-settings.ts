import type { Values } from './settings.ts';

/** The console: where it listens and what it shows. */
export type ConsoleSettings = {
  /** `auto`: the first free port from 8081. */
  readonly port: number | 'auto' | 'off';
  readonly host: string;
  /** Its origin behind a proxy; null where browsers reach it directly. */
  readonly publicOrigin: string | null;
  /** Who sees the contents of events. */
  readonly showEvents: 'operators' | 'everyone' | 'off';
};

/** In production nothing opens by itself, and nothing shows what clients sent. */
export function consoleSettings(values: Values, production: boolean): ConsoleSettings {
  return {
    port: values.CONSOLE_PORT ?? (production ? 'off' : 'auto'),
    host: values.CONSOLE_HOST!,
    publicOrigin: values.CONSOLE_ORIGIN,
    showEvents: values.CONSOLE_SHOW_EVENTS ?? (production ? 'off' : 'operators'),
  };
}

/** The service has its port first, and the console would never get it. */
export function consoleProblems({ PORT, CONSOLE_PORT }: Values): string[] {
  if (CONSOLE_PORT === null || CONSOLE_PORT !== PORT) return [];
  return ['CONSOLE_PORT: is the port of the service, too; set it to another one'];
}
