import { createRoute, z } from '@hono/zod-openapi'
import type { Subscription } from '../directory/entities.ts'
import { findGroup, groupNamesOf } from '../directory/groups.ts'
import { endSubscription, findSubscription, listSubscriptions, makeSubscription } from '../directory/subscriptions.ts'
import { parseUsd } from '../ledger/money.ts'
import { timeText, usdOrNull } from './entities.ts'
import { object, time, usd } from './fields.ts'
import { labelsOf, userInBody, userNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { invalid, notFound } from './refusal.ts'
import { body, idParams, made, ok, pageAsked, pageOf, pageQuery, pageSchema, routes } from './routes.ts'
import { save } from './writing.ts'

/** People's share of a group for a time. */
export function subscriptionRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const { user, ...query } = context.req.valid('query')
      const userId = user === undefined ? undefined : (await userNamed(parts, user)).id
      const subscriptions = await listSubscriptions(parts.database, pageAsked(query), userId)
      return context.json(pageOf(subscriptions, query.limit, await viewer(subscriptions, parts)), 200)
    })
    .openapi(assign, async context => {
      const subscription = await assignOne(context.req.valid('json'), parts)
      return context.json((await viewer([subscription], parts))(subscription), 201)
    })
    .openapi(end, async context => {
      const subscription = await endOne(context.req.valid('param').id, parts)
      return context.json((await viewer([subscription], parts))(subscription), 200)
    })
    .openapi(endByDelete, async context => {
      const subscription = await endOne(context.req.valid('param').id, parts)
      return context.json((await viewer([subscription], parts))(subscription), 200)
    })
}

const dayMs = 24 * 60 * 60 * 1000
const daysMax = 3_660

const assignSchema = object('a subscription', {
  user: z.string().min(1).max(300).describe('E-mail address or id.'),
  group: z.string().min(1).max(100).describe('Name or id of a group that pays by subscription.'),
  startsAt: time.optional().describe('Now when left out.'),
  endsAt: time.optional().describe('Either this or days.'),
  days: z.int().min(1).max(daysMax).optional(),
  dailyLimit: usd.nullable().default(null).describe('USD in each 24 h from the start; null is no limit.'),
  weeklyLimit: usd.nullable().default(null).describe('USD in each 7 × 24 h from the start.'),
  monthlyLimit: usd.nullable().default(null).describe('USD in each 30 × 24 h from the start.'),
}).superRefine(({ endsAt, days }, check) => {
  if ((endsAt === undefined) === (days === undefined))
    check.addIssue({ code: 'custom', path: ['endsAt'], message: 'takes a time, or days takes a number: one of both' })
})

const subscriptionSchema = z
  .object({
    id: z.string(),
    user: z.string(),
    group: z.string(),
    startsAt: z.string(),
    endsAt: z.string(),
    dailyLimit: z.string().nullable(),
    weeklyLimit: z.string().nullable(),
    monthlyLimit: z.string().nullable(),
  })
  .openapi('Subscription')

const tags = ['subscriptions']
const listSubscriptionsQuery = object('a list of subscriptions', {
  ...pageQuery,
  user: z.string().max(300).optional().describe('Of one user only.'),
})
const list = createRoute({
  method: 'get',
  path: '/subscriptions',
  tags,
  request: { query: listSubscriptionsQuery },
  responses: ok('Subscriptions by age, ended ones too.', pageSchema(subscriptionSchema)),
})
const assign = createRoute({
  method: 'post',
  path: '/subscriptions',
  tags,
  request: { body: body(assignSchema) },
  responses: made('The subscription.', subscriptionSchema),
})
const ending = {
  tags,
  description: 'Ends it now. It stays in the list, because charges refer to its windows.',
  request: { params: idParams },
  responses: ok('The subscription as it is now.', subscriptionSchema),
} as const
const end = createRoute({ method: 'post', path: '/subscriptions/{id}/end', ...ending })
const endByDelete = createRoute({ method: 'delete', path: '/subscriptions/{id}', ...ending })

async function assignOne(said: z.output<typeof assignSchema>, parts: AdminParts): Promise<Subscription> {
  const user = await userInBody(parts, said.user)
  const group = await findGroup(parts.database, said.group)
  if (group === undefined)
    throw invalid([{ path: ['group'], message: `group names ${JSON.stringify(said.group)}, and there is no such group.` }])
  if (group.pays !== 'subscription')
    throw invalid([{ path: ['group'], message: `The group ${group.name} is paid from balances; set its pays to "subscription" first.` }])
  const nowMs = parts.clock.nowMs()
  const startsAtMs = said.startsAt ?? nowMs
  const endsAtMs = said.endsAt ?? startsAtMs + said.days! * dayMs
  if (endsAtMs <= startsAtMs) throw invalid([{ path: ['endsAt'], message: 'endsAt is not after startsAt.' }])
  const limits = { dailyLimit: limit(said.dailyLimit), weeklyLimit: limit(said.weeklyLimit), monthlyLimit: limit(said.monthlyLimit) }
  const { entity, steps } = makeSubscription({ userId: user.id, groupId: group.id, startsAtMs, endsAtMs, ...limits }, nowMs)
  await save(parts, steps, [{ what: `assigned ${group.name} to`, target: `user ${user.email}` }])
  return entity
}

function limit(text: string | null): bigint | null {
  return text === null ? null : parseUsd(text)
}

async function endOne(id: string, parts: AdminParts): Promise<Subscription> {
  const subscription = await findSubscription(parts.database, id)
  if (subscription === undefined) throw notFound('subscription', id)
  await save(parts, endSubscription(subscription, parts.clock.nowMs()), [{ what: 'ended', target: `subscription ${id}` }])
  return (await findSubscription(parts.database, id)) ?? subscription
}

/** Reads the names that the views of these need, all at once. */
async function viewer(
  subscriptions: readonly Subscription[],
  parts: AdminParts,
): Promise<(one: Subscription) => z.input<typeof subscriptionSchema>> {
  const userIds = subscriptions.map(one => one.userId)
  const [emails, groupNames] = await Promise.all([labelsOf(parts, 'user', userIds), groupNamesOf(parts.database)])
  return one => ({
    id: one.id,
    user: emails.get(one.userId) ?? one.userId,
    group: groupNames.get(one.groupId) ?? one.groupId,
    startsAt: timeText(one.startsAtMs),
    endsAt: timeText(one.endsAtMs),
    dailyLimit: usdOrNull(one.dailyLimit),
    weeklyLimit: usdOrNull(one.weeklyLimit),
    monthlyLimit: usdOrNull(one.monthlyLimit),
  })
}
