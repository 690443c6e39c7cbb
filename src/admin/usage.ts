import { createRoute, z } from '@hono/zod-openapi'
import { readCut } from '../ledger/kept.ts'
import { formatUsd } from '../ledger/money.ts'
import type { Refund } from '../ledger/refund.ts'
import { timeOfId } from '../lib/id.ts'
import { type AttemptRow, uncollectedReasons } from '../usage/record.ts'
import { type Call, callById, listCalls } from '../usage/report.ts'
import { dayText, namesOf, timeText } from './entities.ts'
import { object, time } from './fields.ts'
import { accountNamed, labelsOf, userNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { notFound, Refusal } from './refusal.ts'
import { idParams, ok, pageQuery, pageSchema, routes } from './routes.ts'

/** Calls, what they used and what they cost; together with its attempts a call's row is its receipt. */
export function usageRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const { limit, cursor, ...asked } = context.req.valid('query')
      const filter = await filterOf(asked, parts)
      const { calls, cursor: next } = await listCalls(parts.database, filter, { limit, cursor: cursor ?? null })
      return context.json({ items: calls.map(await viewer(calls, parts)), next }, 200)
    })
    .openapi(show, async context => {
      const { id } = context.req.valid('param')
      const receipt = await callById(parts.database, id)
      if (receipt === undefined) throw await noCall(id, parts)
      const view = (await viewer([receipt.call], parts))(receipt.call)
      return context.json({ ...view, refund: refundView(receipt.refund), attempts: await attemptViews(receipt.attempts, parts) }, 200)
    })
}

const listUsageQuery = object('a list of calls', {
  ...pageQuery,
  user: z.string().max(300).optional().describe('Of one user: e-mail address or id.'),
  account: z.string().max(100).optional().describe('Answered by one account: name or id.'),
  key: z.string().max(100).optional().describe('Made with one key: its id.'),
  fault: z.string().max(100).optional().describe('Refused or failed with this fault.'),
  since: time.optional().describe('Begun at this time or later.'),
  until: time.optional().describe('Begun before this time.'),
})

const callFields = {
  id: z.string().describe('Also the x-request-id that the client was sent.'),
  beganAt: z.string(),
  user: z.string(),
  key: z.string().describe('The id of the key.'),
  keyName: z.string().nullable().describe('What the key is called; null when it was removed.'),
  group: z.string().nullable(),
  account: z.string().nullable(),
  path: z.string(),
  stream: z.boolean(),
  requestedModel: z.string().nullable(),
  servedModel: z.string().nullable(),
  tier: z.string().nullable(),
  priceId: z.string().nullable().describe('The version of the price that it was priced by.'),
  priceTier: z.string().nullable().describe('The tier of that version: default where the book has no price for the tier that served it.'),
  status: z.number().describe('What the client was sent; 0 when it was sent nothing.'),
  ended: z.enum(['completed', 'incomplete', 'failed', 'cancelled', 'refused', 'cut', 'client_left', 'running', 'gateway_died']),
  fault: z.string().nullable(),
  basis: z.enum(['reported', 'drained', 'estimated', 'pending', 'none']).describe('How the amount is known.'),
  inputTokens: z.number(),
  cachedTokens: z.number(),
  cacheWriteTokens: z.number(),
  cacheWrite12hTokens: z.number(),
  outputTokens: z.number(),
  reasoningTokens: z.number(),
  webSearches: z.number(),
  fileSearches: z.number(),
  held: z.string(),
  cost: z.string(),
  uncollected: z.string(),
  uncollectedWhy: z.enum(uncollectedReasons).nullable().describe('Why some of the cost could not be taken; null when all could.'),
  lineMs: z.number(),
  firstTokenMs: z.number().nullable(),
  durationMs: z.number(),
  address: z.string(),
  userAgent: z.string().nullable(),
  instructionsAdded: z.boolean(),
  outputLoweredTo: z.number().nullable(),
  repaired: z.string().nullable().describe('What the upstream was sent without, because it could not read it.'),
  upstreamRequestId: z.string().nullable(),
}
const callSchema = z.object({ ...callFields, attempts: z.number().describe('How many there were.') }).openapi('Call')

const attemptSchema = z
  .object({
    number: z.number(),
    account: z.string(),
    model: z.string(),
    beganAt: z.string(),
    status: z.number().nullable(),
    fault: z.string().nullable(),
    firstEventMs: z.number().nullable(),
    durationMs: z.number(),
    upstreamRequestId: z.string().nullable(),
    answered: z.boolean(),
  })
  .openapi('Attempt')
const givenBackSchema = z
  .object({ amount: z.string(), reason: z.string(), author: z.string(), at: z.string() })
  .nullable()
  .describe('What of its charge was given back; null when nothing was.')
const receiptSchema = z.object({ ...callFields, refund: givenBackSchema, attempts: z.array(attemptSchema) }).openapi('Receipt')

const tags = ['usage']
const list = createRoute({
  method: 'get',
  path: '/usage',
  tags,
  request: { query: listUsageQuery },
  responses: ok('Calls, newest first.', pageSchema(callSchema)),
})
const show = createRoute({
  method: 'get',
  path: '/usage/{id}',
  tags,
  request: { params: idParams },
  responses: ok('Everything about one call.', receiptSchema),
})

/** Tells what never was from what is no more. */
async function noCall(id: string, { database }: AdminParts): Promise<Refusal> {
  const { before, beforeMs } = await readCut(database)
  if (timeOfId(id) === undefined || id >= before) return notFound('call', id)
  const said = `There is no call ${JSON.stringify(id.slice(0, 100))} now: rows of calls before ${dayText(beforeMs)} were cut (usageKeptDays).`
  return new Refusal(404, 'not_found', said)
}

type Asked = Omit<z.output<typeof listUsageQuery>, 'limit' | 'cursor'>

async function filterOf({ user, account, key, fault, since, until }: Asked, parts: AdminParts) {
  return {
    userId: user === undefined ? undefined : (await userNamed(parts, user)).id,
    accountId: account === undefined ? undefined : (await accountNamed(parts, account)).id,
    keyId: key,
    fault,
    sinceMs: since,
    untilMs: until,
  }
}

/** Reads the names that the views of these calls need, all at once. */
async function viewer(calls: readonly Call[], parts: AdminParts): Promise<(call: Call) => z.input<typeof callSchema>> {
  const read = (kind: Parameters<typeof labelsOf>[1], of: (call: Call) => string | null) => labelsOf(parts, kind, calls.map(of))
  const [users, keys, groups, accounts] = await Promise.all([
    read('user', call => call.userId),
    read('key', call => call.keyId),
    read('group', call => call.groupId),
    read('account', call => call.accountId),
  ])
  const tiers = new Map(parts.directory.snapshot().prices.map(({ id, tier }) => [id, tier]))
  const name = (id: string | null, names: ReadonlyMap<string, string>) => (id === null ? null : (names.get(id) ?? id))
  return ({ userId, keyId, groupId, accountId, usage, held, cost, uncollected, beganAtMs, ...same }) => ({
    ...same,
    ...usage,
    beganAt: timeText(beganAtMs),
    user: users.get(userId) ?? userId,
    key: keyId,
    keyName: keys.get(keyId) ?? null,
    group: name(groupId, groups),
    account: name(accountId, accounts),
    held: formatUsd(held),
    cost: formatUsd(cost),
    uncollected: formatUsd(uncollected),
    priceTier: same.priceId === null ? null : (tiers.get(same.priceId) ?? null),
  })
}

function refundView(refund: Refund | null): z.input<typeof givenBackSchema> {
  if (refund === null) return null
  const { amount, reason, author, atMs } = refund
  return { amount: formatUsd(amount), reason, author, at: timeText(atMs) }
}

async function attemptViews(attempts: readonly AttemptRow[], parts: AdminParts): Promise<z.input<typeof attemptSchema>[]> {
  const ids = attempts.map(attempt => attempt.accountId)
  const accounts = namesOf(ids, await labelsOf(parts, 'account', ids))
  return attempts.map(({ callId: _, accountId, beganAtMs, ...same }, index) => ({
    ...same,
    account: accounts[index] ?? accountId,
    beganAt: timeText(beganAtMs),
  }))
}
