import type { MiddlewareHandler } from 'hono'
import { changeDirectory } from '../directory/revision.ts'
import type { Step } from '../storage/database.ts'
import type { AdminParts } from './ports.ts'
import { Refusal } from './refusal.ts'

/** What was done to what, for the log: "changed", "account a1". */
export interface Deed {
  readonly what: string
  readonly target: string
}

/** Whoever has the admin token: there is only the one so far. */
export const author = 'admin'

/**
 * Commits all of the steps or refuses with the sentence of the guard that failed; then the data plane's copy is renewed, so
 * that what was written holds from the moment it is answered.
 */
export async function save(parts: AdminParts, steps: readonly Step[], deeds: readonly Deed[]): Promise<void> {
  if (steps.length > 0) {
    const committed = await changeDirectory(parts.database, steps)
    if (!committed.done) throw new Refusal(409, 'conflict', committed.guard)
  }
  for (const deed of deeds) parts.log.wrote({ who: author, ...deed })
  await parts.directory.refresh()
}

/**
 * One write after the other: each reads what there is before it says what shall be, and two at once would undo each other.
 * Guards in the books hold between nodes. A test of an account and a reconciliation write nothing, and take
 * their time: they wait for nobody, and nobody for them.
 */
export function oneWriteAtATime(): MiddlewareHandler {
  let turn: Promise<unknown> = Promise.resolve()
  return async (context, next) => {
    const { method, path } = context.req
    if (method === 'GET' || /\/(test|reconcile)$/.test(path)) return next()
    const before = turn
    const { promise, resolve } = Promise.withResolvers<void>()
    turn = promise
    try {
      await before
      await next()
    } finally {
      resolve()
    }
  }
}
