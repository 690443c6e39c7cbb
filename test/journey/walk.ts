import { expect } from 'vitest'
import { expectBooks, markCalls } from './books.ts'
import { call, expectSeen } from './clients.ts'
import type { Ground } from './ground.ts'
import { callAndLeave } from './leaving.ts'
import type { Row, Who } from './row.ts'

/** Walks one row of the journey table as one client, and holds what everybody then has against it. */
export async function walk(who: Who, row: Row, { world, keyFor, mistakes }: Ground): Promise<void> {
  const target = { url: world.url, key: await keyFor(row) }
  const before = await world.balance()
  await markCalls(world)
  if (row.leaves === undefined) expectSeen(await call(target, who, row), row, who)
  else await callAndLeave(world, target, who, row)
  await world.quiet()
  await expectBooks(world, row, before)
  expect(mistakes).toEqual([])
}

export function nameOf({ what, leaves }: Row): string {
  return leaves === undefined ? what : `${what}, and the client leaves ${leaves}`
}
