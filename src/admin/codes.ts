import { createRoute, z } from '@hono/zod-openapi'
import { type Code, findCode, findTypedCode, type Gift, listCodes, makeCode, type Redeemed, stateOf, voidCode } from '../directory/codes.ts'
import { groupNamesOf } from '../directory/groups.ts'
import { redeemSteps } from '../directory/redeem.ts'
import { findSubscription } from '../directory/subscriptions.ts'
import { formatUsd, parseUsd } from '../ledger/money.ts'
import { timeText, timeTextOrNull, usdOrNull } from './entities.ts'
import { flag, object, time, usd } from './fields.ts'
import { labelsOf, userInBody } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { invalid, notFound, Refusal } from './refusal.ts'
import { body, idParams, made, ok, pageAsked, pageOf, pageQuery, pageSchema, routes } from './routes.ts'
import { limitFields, limitsOf, subscriptionSchema, subscriptionViewer } from './subscription-views.ts'
import { days, subscribedGroupInBody } from './subscriptions.ts'
import { walletSchema, walletView } from './wallets.ts'
import { author, save } from './writing.ts'

/** Credit and subscriptions to give away. A code itself is in one answer only: the one to its making. */
export function codeRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const { all, ...query } = context.req.valid('query')
      const codes = await listCodes(parts.database, pageAsked(query), all ? undefined : parts.clock.nowMs())
      return context.json(pageOf(codes, query.limit, await viewer(codes, parts)), 200)
    })
    .openapi(make, async context => {
      const codes = await makeSome(context.req.valid('json'), parts)
      const entities = codes.map(code => code.entity)
      const view = await viewer(entities, parts)
      return context.json({ items: codes.map(({ entity, secret }) => ({ ...view(entity), code: secret })) }, 201)
    })
    .openapi(redeem, async context => context.json(await redeemOne(context.req.valid('json'), parts), 200))
    .openapi(makeVoid, async context => {
      const { id } = context.req.valid('param')
      const code = await codeOfId(id, parts)
      await save(parts, voidCode(code, parts.clock.nowMs()), [{ what: 'made void', target: `code ${id}` }])
      const voided = await codeOfId(id, parts)
      return context.json((await viewer([voided], parts))(voided), 200)
    })
}

const codesAtOnceMost = 1_000

const makeSchema = object('a code', {
  amount: usd.optional().describe('USD of credit. Either this, or group and days.'),
  group: z.string().min(1).max(100).optional().describe('Name or id of a group that pays by subscription.'),
  days: days.optional().describe('How many times 24 h the subscription lasts, or is extended by.'),
  dailyLimit: limitFields.dailyLimit.default(null),
  weeklyLimit: limitFields.weeklyLimit.default(null),
  monthlyLimit: limitFields.monthlyLimit.default(null),
  count: z.int().min(1).max(codesAtOnceMost).default(1).describe('How many, all alike.'),
  expiresAt: time.nullable().default(null).describe('They may be redeemed before then.'),
  reason: z.string().trim().min(1).max(500).describe('Why, for whoever reads the bill.'),
}).superRefine(({ amount, group, days }, check) => {
  if ((amount === undefined) === (group === undefined))
    check.addIssue({ code: 'custom', path: ['amount'], message: 'takes USD, or group and days say a subscription: one of both' })
  else if ((group === undefined) !== (days === undefined))
    check.addIssue({ code: 'custom', path: ['days'], message: 'is said of a subscription, together with its group' })
})

const redeemSchema = object('a redemption', {
  code: z.string().min(1).max(200).describe('As it was written down: small letters and missing dashes do not matter.'),
  user: z.string().min(1).max(300).describe('Who gets what it gives: e-mail address or id.'),
})

const codeSchema = z
  .object({
    id: z.string(),
    hint: z.string().describe('The last letters of the code.'),
    state: z.enum(['open', 'redeemed', 'void', 'expired']),
    amount: z.string().nullable().describe('USD of credit; null of a code for a subscription.'),
    group: z.string().nullable(),
    days: z.number().nullable(),
    dailyLimit: z.string().nullable(),
    weeklyLimit: z.string().nullable(),
    monthlyLimit: z.string().nullable(),
    reason: z.string(),
    author: z.string(),
    madeAt: z.string(),
    expiresAt: z.string().nullable(),
    voidedAt: z.string().nullable(),
    redeemedBy: z.string().nullable(),
    redeemedAt: z.string().nullable(),
    entry: z.string().nullable().describe('The id of the entry that came of it.'),
    subscription: z.string().nullable().describe('The id of the subscription that came of it.'),
  })
  .openapi('Code')
const madeCodesSchema = z
  .object({ items: z.array(codeSchema.extend({ code: z.string().describe('It is told this once and kept nowhere.') })) })
  .openapi('MadeCodes')
const redemptionSchema = z
  .object({
    code: codeSchema,
    wallet: walletSchema.nullable().describe('As it is now, when the code gave credit.'),
    subscription: subscriptionSchema.nullable().describe('As it is now, when the code gave one, or extended one.'),
  })
  .openapi('Redemption')

const tags = ['codes']
const listCodesQuery = object('a list of codes', { ...pageQuery, all: flag.describe('Those that cannot be redeemed any more, too.') })
const list = createRoute({
  method: 'get',
  path: '/codes',
  tags,
  request: { query: listCodesQuery },
  responses: ok('Codes by age.', pageSchema(codeSchema)),
})
const make = createRoute({
  method: 'post',
  path: '/codes',
  tags,
  request: { body: body(makeSchema) },
  responses: made('The codes, each with its secret.', madeCodesSchema),
})
const redeem = createRoute({
  method: 'post',
  path: '/codes/redeem',
  tags,
  description: 'Turns a code into what it gives, once.',
  request: { body: body(redeemSchema) },
  responses: ok('What came of it.', redemptionSchema),
})
const makeVoid = createRoute({
  method: 'post',
  path: '/codes/{id}/void',
  tags,
  description: 'Nobody can redeem it any more. It stays in the list.',
  request: { params: idParams },
  responses: ok('The code as it is now.', codeSchema),
})

async function makeSome(said: z.output<typeof makeSchema>, parts: AdminParts) {
  const nowMs = parts.clock.nowMs()
  if (said.expiresAt !== null && said.expiresAt <= nowMs)
    throw invalid([{ path: ['expiresAt'], message: 'expiresAt is in the past; such a code could never be redeemed.' }])
  const gives = await giftOf(said, parts)
  const draft = { gives, reason: said.reason, author, expiresAtMs: said.expiresAt }
  const codes = Array.from({ length: said.count }, () => makeCode(draft, nowMs))
  const steps = codes.flatMap(code => code.steps)
  const deeds = codes.map(({ entity }) => ({ what: 'made', target: `code ${entity.id}` }))
  await save(parts, steps, deeds)
  return codes
}

async function giftOf(said: z.output<typeof makeSchema>, parts: AdminParts): Promise<Gift> {
  if (said.group !== undefined) {
    const { id } = await subscribedGroupInBody(parts, said.group)
    return { kind: 'subscription', groupId: id, days: said.days!, ...limitsOf(said) }
  }
  const amount = parseUsd(said.amount!)
  if (amount <= 0n) throw invalid([{ path: ['amount'], message: `amount is ${said.amount}; a code gives more than 0.` }])
  const limited = (['dailyLimit', 'weeklyLimit', 'monthlyLimit'] as const).find(name => said[name] !== null)
  if (limited !== undefined)
    throw invalid([{ path: [limited], message: `${limited} is said of a subscription; credit lasts until it is spent.` }])
  return { kind: 'credit', amount }
}

async function redeemOne(said: z.output<typeof redeemSchema>, parts: AdminParts): Promise<z.input<typeof redemptionSchema>> {
  const user = await userInBody(parts, said.user)
  const open = await findTypedCode(parts.database, said.code)
  // What was typed is not said back: with one letter wrong it still is a secret, and whoever asks may log what they are told.
  if (open === undefined) throw new Refusal(404, 'not_found', 'There is no such code; a code looks like HG-XXXX-XXXX-XXXX-XXXX-XXXX.')
  const steps = redeemSteps({ code: open, user, author }, parts.clock.nowMs())
  await save(parts, steps, [{ what: `redeemed code ${open.id} for`, target: `user ${user.email}` }])

  const code = await codeOfId(open.id, parts)
  const { subscriptionId } = code.redeemed ?? { subscriptionId: null }
  const subscription = subscriptionId === null ? undefined : await findSubscription(parts.database, subscriptionId)
  return {
    code: (await viewer([code], parts))(code),
    wallet: code.gives.kind === 'credit' ? await walletView(user, parts) : null,
    subscription: subscription === undefined ? null : (await subscriptionViewer([subscription], parts))(subscription),
  }
}

async function codeOfId(id: string, { database }: AdminParts): Promise<Code> {
  const code = await findCode(database, id)
  if (code === undefined) throw notFound('code', id)
  return code
}

/** Reads the names that the views of these need, all at once. */
async function viewer(codes: readonly Code[], parts: AdminParts): Promise<(code: Code) => z.input<typeof codeSchema>> {
  const userIds = codes.map(({ redeemed }) => redeemed?.userId ?? null)
  const [emails, groupNames] = await Promise.all([labelsOf(parts, 'user', userIds), groupNamesOf(parts.database)])
  const nowMs = parts.clock.nowMs()
  return code => ({
    id: code.id,
    hint: code.hint,
    state: stateOf(code, nowMs),
    ...giftView(code.gives, groupNames),
    reason: code.reason,
    author: code.author,
    madeAt: timeText(code.madeAtMs),
    expiresAt: timeTextOrNull(code.expiresAtMs),
    voidedAt: timeTextOrNull(code.voidedAtMs),
    ...redeemedView(code.redeemed, emails),
  })
}

function giftView(gives: Gift, groupNames: ReadonlyMap<string, string>) {
  const none = { amount: null, group: null, days: null, dailyLimit: null, weeklyLimit: null, monthlyLimit: null }
  if (gives.kind === 'credit') return { ...none, amount: formatUsd(gives.amount) }
  return {
    ...none,
    group: groupNames.get(gives.groupId) ?? gives.groupId,
    days: gives.days,
    dailyLimit: usdOrNull(gives.dailyLimit),
    weeklyLimit: usdOrNull(gives.weeklyLimit),
    monthlyLimit: usdOrNull(gives.monthlyLimit),
  }
}

function redeemedView(redeemed: Redeemed | null, emails: ReadonlyMap<string, string>) {
  if (redeemed === null) return { redeemedBy: null, redeemedAt: null, entry: null, subscription: null }
  const { userId, atMs, entryId, subscriptionId } = redeemed
  return { redeemedBy: emails.get(userId) ?? userId, redeemedAt: timeText(atMs), entry: entryId, subscription: subscriptionId }
}
