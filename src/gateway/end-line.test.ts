import { expect, test } from 'vitest'
import { heldCall, openBooks, userSteps } from '../ledger/books.fixture.ts'
import { plainText } from '../ledger/plain.ts'
import type { Ended } from '../ledger/posting.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AttemptRow, type CallRow, noUsage } from '../usage/record.ts'
import { callById } from '../usage/report.ts'
import type { CallEnd } from './books.ts'
import { endInLine, endsAtHand } from './end-line.ts'
import { stepsIn } from './ends-in-books.ts'

const beganAtMs = 1_700_000_000_000

/** Of a call in which nothing is as it usually is, so that each value has its own place. */
function endedCall(callId: string, { held = 2n ** 62n, cost = 2n ** 61n } = {}): Ended<CallEnd> {
  const ids = { userId: 'u', keyId: 'k', groupId: 'g', accountId: 'acct', path: '/v1/"responses"\n', stream: true }
  const names = { requestedModel: 'mödel\u2028', servedModel: 'served', tier: 'flex', priceId: 'p' }
  const counts = { inputTokens: 1, cachedTokens: 2, cacheWriteTokens: 3, cacheWrite12hTokens: 4, outputTokens: 5, reasoningTokens: 6 }
  const row: CallRow = {
    ...{ id: callId, ...ids, ...names, status: 201, ended: 'incomplete', fault: 'none', basis: 'drained', held, cost },
    ...{ usage: { ...noUsage, ...counts, webSearches: 7, fileSearches: 8 }, uncollectedWhy: 'media', attempts: 2 },
    ...{ lineMs: 9, firstTokenMs: null, durationMs: 10, address: '2001:db8::1', userAgent: '😀', instructionsAdded: true },
    ...{ outputLoweredTo: 11, repaired: '3 items', upstreamRequestId: 'req', beganAtMs },
  }
  const attempt: AttemptRow = {
    ...{ callId, number: 1, accountId: 'other', model: 'm', beganAtMs, status: null, fault: 'reset', firstEventMs: null, durationMs: 3 },
    ...{ upstreamRequestId: null, answered: false },
  }
  const call = heldCall(beganAtMs)
  const funds = { kind: 'wallet', walletId: 'w' } as const
  const charge = { cost, entryId: `entry-${callId}`, atMs: beganAtMs + 1 }
  const owners = [
    { id: `resp-${callId}`, kind: 'response', userId: 'u', accountId: 'acct', contextTokens: 12, atMs: beganAtMs, model: null },
  ]
  const attempts = [attempt, { ...attempt, number: 2, accountId: 'acct', status: 200, fault: null, firstEventMs: 4, answered: true }]
  const end = { callId, funds, call, charge, row, attempts, owners }
  return { slip: { ...call, callId, walletId: 'w', want: held }, settle: { callId, funds, ...charge }, end, looks: 0 }
}

test('an end is read as it was written, to the last field', () => {
  const ended = endedCall('c')
  const line = endsAtHand.lineOf(ended)
  expect(line).not.toContain('\n')
  expect(endsAtHand.endIn(line)).toEqual(ended.end)
})

test('what the row says is said once, and read all the same', () => {
  const ended = endedCall('c')
  const { slip, end } = ended
  const { userId, keyId, groupId, path, address } = end.row!
  const call = { ...end.call!, userId, keyId, groupId: groupId!, path, address }
  const attempts = end.attempts.map(attempt => ({ ...attempt, upstreamRequestId: end.row!.upstreamRequestId }))
  const alike = { ...ended, slip: { ...slip, ...call }, end: { ...end, call, attempts, owners: [] } }
  const line = endsAtHand.lineOf(alike)
  expect(endsAtHand.endIn(line)).toEqual(alike.end)
  for (const once of [
    '"c"',
    '"u"',
    '"k"',
    '"g"',
    JSON.stringify(path),
    JSON.stringify(address),
    '"req"',
    String(2n ** 62n),
    String(2n ** 61n),
  ])
    expect(line.split(once), once).toHaveLength(2)
})

const rowText = [
  '["c","u","k","g","acct","/v1/\\"responses\\"\\n",1,"mödel\u2028","served","flex","p",201,"incomplete","none","drained",1,2,3,4,5,6,7,8,',
  '"4611686018427387904","2305843009213693952",2,9,null,10,"2001:db8::1","😀",1,11,"3 items","req",1700000000000,"media"]',
].join('')
const ownersText =
  '[{"id":"resp-c","kind":"response","userId":"u","accountId":"acct","contextTokens":12,"atMs":1700000000000,"model":null}]'
const times = '"lease",0,0,0,"m","/v1/responses","192.0.2.1",true,1700000000000]'
/** As daybooks have them that were written by a Headgate of that version: they are to be read for ever. */
const written = {
  1: [
    '[1,["c","w","4611686018427387904","2305843009213693952","entry-c",1700000000001,"lease","u","k","g","m","/v1/responses","192.0.2.1",true,',
    `1700000000000],${rowText},[["c",1,"other","m",1700000000000,null,"reset",null,3,null,0],`,
    `["c",2,"acct","m",1700000000000,200,null,4,3,null,1]],${ownersText}]`,
  ].join(''),
  2: [
    `[2,[0,"w",0,0,"entry-c",1700000000001,${times},${rowText},[[0,1,"other","m",1700000000000,null,"reset",null,3,null,0],`,
    `[0,2,0,"m",1700000000000,200,null,4,3,null,1]],${ownersText}]`,
  ].join(''),
}

test.for([1, 2] as const)('a line of version %i is read', version => {
  expect(endInLine(written[version])).toEqual(endedCall('c').end)
})

test('a line is written as its version has it', () => {
  expect(endsAtHand.lineOf(endedCall('c'))).toBe(written[2])
})

test('a line of the first daybooks is read, one of a newer version is not', () => {
  const { end } = endedCall('c')
  expect(endInLine(plainText(end))).toEqual(end)
  const newer = endsAtHand.lineOf(endedCall('c')).replace(/^\[2/, '[3')
  expect(() => endInLine(newer)).toThrow('a line of the daybook is of version 3, which this Headgate cannot read; a newer one wrote it')
})

test('the books have of a line all that was on it, in one commit with others', async () => {
  await using books = await openBooks(openSqlite)
  const { database } = books
  const [one, other] = [endedCall('c', { held: 70n, cost: 50n }), endedCall('d', { held: 20n, cost: 0n })]
  await database.commit(userSteps('w'), 'synced')
  const lines = [one, other].map(ended => endsAtHand.lineOf(ended))
  expect(await database.commit(endsAtHand.stepsOf(lines), 'synced'), 'there is no money').toEqual({ done: false, guard: 'another_way' })
  await database.commit([{ statement: { number: -1, sql: `update wallets set balance = 60 where id = 'w'` }, values: [] }], 'synced')
  expect(await database.commit(endsAtHand.stepsOf(lines), 'synced')).toMatchObject({ done: true })
  expect(await database.commit(endsAtHand.stepsOf(lines), 'synced'), 'it is there').toEqual({ done: false, guard: 'another_way' })
  expect(await callById(database, 'c')).toMatchObject({
    call: { ...one.end.row, uncollectedWhy: null, uncollected: 0n },
    attempts: one.end.attempts,
  })
  const rows = await Promise.all(
    tables.map(table => database.report({ number: 900_000 + tables.indexOf(table), sql: `select * from ${table}` })),
  )
  const [wallets, holds, entries, owners, days] = rows
  expect(wallets).toMatchObject([{ balance: 10n, held: 0n }])
  expect(holds).toMatchObject([
    { id: 'c', amount: 70n, settled: 50n, state: 'settled', lease_id: 'lease', model: 'm', stream: 1n },
    { id: 'd', amount: 20n, settled: 0n },
  ])
  expect(entries).toMatchObject([{ id: 'entry-c', reference: 'c', amount: -50n }])
  expect(owners!.map(({ id }) => id)).toEqual(['resp-c', 'resp-d'])
  expect(days).toMatchObject([{ account_id: 'acct' }])
  // That the day is there is known from then on.
  await database.commit([{ statement: { number: -1, sql: 'delete from account_days' }, values: [] }], 'synced')
  const another = endsAtHand.lineOf(endedCall('e', { held: 5n, cost: 5n }))
  expect(await database.commit(endsAtHand.stepsOf([another]), 'synced')).toMatchObject({ done: true })
  expect(await database.report({ number: 900_100, sql: 'select * from account_days' })).toEqual([])
})

const tables = ['wallets', 'holds', 'entries', 'owners', 'account_days']

test('what cannot be worked out is refused, and the books go on', async () => {
  await using books = await openBooks(openSqlite)
  const { database } = books
  const worked = endsAtHand.stepsOf(['[3]'])
  await expect(database.commit(worked, 'synced')).rejects.toThrow('of version 3')
  await expect(database.commit([...worked, ...userSteps('v')], 'synced')).rejects.toThrow('must be alone in its commit')
  await database.commit(userSteps('w'), 'synced')
  expect(() => stepsIn('{')).toThrow(SyntaxError)
})
