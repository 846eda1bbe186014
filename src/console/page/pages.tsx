/** The pages there are, in the order of the navigation. */
import type { ComponentType } from 'preact';
import { Ask } from './views/ask.tsx';
import { Find } from './views/find.tsx';
import { Letters } from './views/letters.tsx';
import { Live } from './views/live.tsx';
import { Now } from './views/now.tsx';
import { Projects } from './views/projects.tsx';
import { Rejected } from './views/rejected.tsx';

type Page = {
  readonly path: string;
  readonly title: string;
  /** `path`: what follows the page's own name in the address. */
  readonly View: ComponentType<{ readonly path: readonly string[] }>;
};

export const PAGES: readonly Page[] = [
  { path: 'now', title: 'Now', View: Now },
  { path: 'live', title: 'Live', View: Live },
  { path: 'letters', title: 'Dead letters', View: Letters },
  { path: 'rejected', title: 'Rejected', View: Rejected },
  { path: 'find', title: 'Find', View: Find },
  { path: 'projects', title: 'Projects', View: Projects },
  { path: 'ask', title: 'Ask', View: Ask },
];
