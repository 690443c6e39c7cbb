import { afterAll, beforeAll, expect, test } from 'vitest'
import { moveCut } from '../ledger/kept.ts'
import { firstIdOf, newId } from '../lib/id.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, openAdminBed } from './admin.fixture.ts'

let bed: AdminBed
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
  await bed.ask(201, 'POST', '/groups', { name: 'default' })
  await bed.ask(201, 'POST', '/accounts', { name: 'a1', groups: ['default'], baseUrl: 'https://example.com', apiKey: 'k' })
  await bed.ask(200, 'POST', '/prices', { model: 'sim', input: '2', output: '10', aliases: ['sim-2026-03-05'] })
})
afterAll(() => bed[Symbol.asyncDispose]())

const period = { since: '2026-10-01T05:00:00Z', until: '2026-10-02T00:00:00Z' }
const figure = { day: '2026-10-01', account: 'a1', model: 'sim', inputTokens: 1, outputTokens: 2 }

test('a period is whole days of UTC, and figures of other days are counted, not looked at', async () => {
  const figures = [figure, { ...figure, model: 'sim-2026-03-05' }, { ...figure, day: '2026-09-30' }, { ...figure, day: '2026-10-02' }]
  expect(await bed.ask(200, 'POST', '/reconcile', { ...period, figures })).toMatchObject({
    ...{ since: '2026-10-01T00:00:00.000Z', until: '2026-10-02T00:00:00.000Z', unexplained: 1, outside: 2, notCovered: [] },
    lines: [{ day: '2026-10-01', account: 'a1', model: 'sim', theirs: { requests: null, inputTokens: 2, outputTokens: 4, cost: null } }],
  })
})

const wrong: readonly (readonly [object, string])[] = [
  [{ ...period, until: period.since, since: period.until }, 'until must be after since.'],
  [{ ...period, since: '2020-01-01T00:00:00Z' }, 'since is 2466 days before until; at most 366 are read at once.'],
  [{ figures: [{ ...figure, account: 'a2' }] }, 'figures[0].account names the account "a2", which does not exist; there are a1.'],
  [{ accounts: ['a3'] }, 'accounts[0] names the account "a3", which does not exist; there are a1.'],
  [{ figures: [{ ...figure, day: '2026-02-30' }] }, 'takes a day of UTC such as 2026-01-31'],
  [{ figures: [{ ...figure, cost: 0.5 }] }, 'takes decimal text: write "0.5", in quotes'],
  [{ figures: [{ ...figure, inputTokens: -1 }] }, 'figures[0].inputTokens'],
  [{ figures: [{ ...figure, tokens: 1 }] }, 'a figure has no tokens; it has day, account, model'],
]

test.each(wrong)('%j is refused in a sentence', async (change, sentence) => {
  const { error } = await bed.ask(422, 'POST', '/reconcile', { ...period, figures: [], ...change })
  expect(error.message).toContain(sentence)
})

test('a period of which rows were cut is refused, because its calls would look like requests that we never saw', async () => {
  const beforeMs = Date.UTC(2026, 9, 1)
  await moveCut(bed.database, { before: firstIdOf(beforeMs), beforeMs })
  await bed.ask(200, 'POST', '/reconcile', { ...period, figures: [] })
  const { error } = await bed.ask(422, 'POST', '/reconcile', { ...period, since: '2026-09-30T00:00:00Z', figures: [] })
  expect(error).toMatchObject({
    path: ['since'],
    message: 'since is 2026-09-30, but rows of calls before 2026-10-01 were cut (usageKeptDays); ask from then on.',
  })
  const { error: gone } = await bed.ask(404, 'GET', `/usage/${newId(beforeMs - 1)}`)
  expect(gone.message).toMatch(/^There is no call "[0-9a-f-]+" now: rows of calls before 2026-10-01 were cut \(usageKeptDays\)\.$/)
  const { error: never } = await bed.ask(404, 'GET', `/usage/${newId(beforeMs)}`)
  expect(never.message).not.toContain('cut')
})
