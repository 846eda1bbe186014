/** Signing in and out. */
import type { SessionAnswer } from '../../session/answers.ts';
import { ApiError, get, post, remove, session } from './api.ts';
import { takeLink } from './route.ts';
import { signal } from '@preact/signals';

/** Why the page could not be opened with its link; null while nothing is wrong. */
export const linkTrouble = signal<ApiError | null>(null);

/** Finds out who is here: by the link in the address, else by the cookie. Never rejects. */
export async function beginSession(): Promise<void> {
  const link = takeLink();
  // Of whoever was here before, nothing stays on the page.
  if (link !== null) session.value = undefined;
  try {
    session.value = link === null ? await get<SessionAnswer>('/session') : await signIn({ link });
  } catch (error) {
    if (link !== null) return await beginWithout(error as ApiError);
    if ((error as ApiError).status !== 401) linkTrouble.value = error as ApiError;
    session.value = null;
  }
}

/** A link that was used before may be the one that this very browser used: then it is signed in already. */
async function beginWithout(trouble: ApiError): Promise<void> {
  session.value = await get<SessionAnswer>('/session').catch(() => null);
  if (session.value === null) linkTrouble.value = trouble;
}

type Credentials = { readonly link: string } | { readonly name: string; readonly password: string };

/** Throws `ApiError`. */
export async function signIn(credentials: Credentials): Promise<SessionAnswer> {
  const answer = await post<SessionAnswer>('/session', credentials);
  linkTrouble.value = null;
  session.value = answer;
  return answer;
}

/** Throws `ApiError`. */
export async function signOut(): Promise<void> {
  await remove('/session').catch((error: ApiError) => {
    if (error.status !== 401) throw error;
  });
  session.value = null;
}

/** Whether who is signed in may change anything. */
export const mayChange = (): boolean => session.value?.role === 'operator';
