import { expect } from 'vitest'
import type { Condition } from '../../src/coordination/coordinator.ts'
import { type Row as BooksRow, statement } from '../../src/storage/database.ts'
import type { World } from '../world.ts'
import { accountsOf, byName } from './ground.ts'
import type { Row } from './row.ts'

/** Everything that must be on the books after a row's one call, held against what the upstream counted. */
export async function expectBooks(world: World, row: Row, before: { readonly balance: bigint }): Promise<void> {
  const [call, ...more] = await callsSince(world)
  expect(more).toEqual([])
  if (call === undefined) throw new Error('the call has no row')
  const attempts = await attemptsOf(world, call)
  expect(attempts.map(attempt => told(world, attempt)).join(', ')).toBe(row.attempts)
  expect(call.attempts).toBe(BigInt(attempts.length))
  // The upstream counted the same ones, but for those that never reached it.
  const reached = attempts.map(({ account_id: id }) => nameOf(world, id)).filter(name => !(row.first ?? '').split(' ').includes(name))
  expect(world.sim.attempts.map(({ key }) => key)).toEqual(reached.map(name => `up-${name}`))

  expect(call).toMatchObject({ ended: endedOf(row), basis: row.charged, uncollected: 0n })
  expect((await world.balance()).balance).toBe(before.balance - (call.cost as bigint))
  expectCharge(world, row, call)
  expect(await restsOf(world, row, attempts)).toBe(row.rests ?? '')
}

function expectCharge({ sim }: World, { charged }: Row, { cost, account_id: account }: BooksRow): void {
  const served = sim.invoice.filter(({ answered, status }) => answered && status === 200)
  if (charged === 'none') return expect(cost).toBe(0n)
  expect(account).not.toBeNull()
  const invoiced = served.at(-1)!.costNanos
  if (charged !== 'estimated') return expect(cost).toBe(invoiced)
  expect(Math.abs(Number(cost) / Number(invoiced) - 1)).toBeLessThanOrEqual(estimateError)
}

/** What an estimate may differ from the upstream's invoice, both counted with its vocabulary. */
const estimateError = 0.02

function endedOf({ sees, leaves }: Row): string {
  if (leaves !== undefined && leaves !== 'after the end') return 'client_left'
  if (sees.kind === 'answer') return sees.final
  if (sees.kind === 'cut') return sees.code === 'server_error' ? 'cut' : 'failed'
  return sees.kind === 'nothing' ? 'completed' : 'refused'
}

/** "a1 500 server", "a2 200": the account, the upstream's status and the fault. */
function told(world: World, { account_id: id, status, fault }: BooksRow): string {
  return [nameOf(world, id), status ?? '-', fault].filter(part => part !== null).join(' ')
}

/** Since `markCalls`, once the upstream has ended them all. */
export async function callsSince({ database, headgate, sim }: World): Promise<readonly BooksRow[]> {
  await headgate.gateway.recorder.flush()
  await sim.idle()
  return database.report(statement('select * from calls where id > $1 order by id'), [mark])
}

let mark = ''

/** From here on the calls are counted. */
export async function markCalls({ database, headgate }: World): Promise<void> {
  await headgate.gateway.recorder.flush()
  const [row] = await database.report(statement('select max(id) as id from calls'))
  mark = String(row?.id ?? '')
}

function attemptsOf({ database }: World, { id }: BooksRow): Promise<readonly BooksRow[]> {
  return database.report(statement('select * from attempts where call_id = $1 order by number'), [id!])
}

function nameOf({ accounts }: World, id: unknown): string {
  return accounts.find(account => account.id === id)?.name ?? String(id)
}

/** What became of the accounts of this row, in words; seconds are counted from the end of the account's last attempt. */
async function restsOf(world: World, row: Row, attempts: readonly BooksRow[]): Promise<string> {
  const ids = accountsOf(row).map(name => byName(world, name).id)
  const conditions = await world.headgate.gateway.coordinator.conditions(ids)
  const told = conditions.map((condition, i) => {
    const attempt = attempts.findLast(({ account_id: id }) => id === ids[i])
    const words = wordsOf(condition, attempt === undefined ? 0 : Number(attempt.began_at) + Number(attempt.duration_ms))
    return words.length === 0 ? [] : [`${nameOf(world, ids[i])} ${words.join(' and ')}`]
  })
  return told.flat().join(', ')
}

function wordsOf(condition: Condition, sinceMs: number): string[] {
  const words: string[] = []
  const seconds = (untilMs: number) => Math.round((untilMs - sinceMs) / 1000)
  if (condition.restingUntilMs > sinceMs) words.push(`rests ${seconds(condition.restingUntilMs)}`)
  for (const [model, untilMs] of Object.entries(condition.modelRests)) words.push(`rests ${seconds(untilMs)} from ${model}`)
  if (condition.flagged) words.push('is flagged')
  if (condition.outSinceMs !== null) words.push('is out')
  if (condition.circuitSinceMs !== null) words.push('is open')
  if (condition.failures > 0) words.push(`failed ${condition.failures}`)
  return words
}
