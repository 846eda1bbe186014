/** The terminal a command talks to. `main.ts` binds it to the process; tests collect what is written. */
export type Io = {
  stdout(text: string): void;
  stderr(text: string): void;
  /** Whether a person sits there who can be asked. */
  readonly isTTY: boolean;
  /** Puts a question to that person. Only when `isTTY`. */
  ask(question: string): Promise<string>;
};
