import { createRoute, z } from '@hono/zod-openapi'
import { accountViewSchema, viewOf } from './accounts.ts'
import { model, object, time } from './fields.ts'
import { accountNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { Refusal } from './refusal.ts'
import { body, ok, refParams, routes } from './routes.ts'
import { author } from './writing.ts'

/** What an operator does to an account that runs: test it, let it rest, bring it back. */
export function accountCareRoutes(parts: AdminParts) {
  const { pool, clock, log } = parts
  return routes()
    .openapi(test, async context => {
      const account = await accountNamed(parts, context.req.valid('param').ref)
      log.wrote({ who: author, what: 'tested', target: `account ${account.name}` })
      return context.json(await pool.testAccount(account, context.req.valid('json').model), 200)
    })
    .openapi(rest, async context => {
      const account = await accountNamed(parts, context.req.valid('param').ref)
      const { minutes = restDefaultMinutes, until, why = 'an operator let it rest' } = context.req.valid('json')
      const untilMs = until ?? clock.nowMs() + minutes * 60_000
      if (untilMs <= clock.nowMs()) throw new Refusal(422, 'invalid', 'until is over already; a rest ends in the future.')
      await pool.restAccount(account.id, untilMs, why)
      log.wrote({ who: author, what: 'let rest', target: `account ${account.name}` })
      return context.json(await viewOf(account, parts), 200)
    })
    .openapi(resume, async context => {
      const account = await accountNamed(parts, context.req.valid('param').ref)
      await pool.resumeAccount(account.id)
      log.wrote({ who: author, what: 'resumed', target: `account ${account.name}` })
      return context.json(await viewOf(account, parts), 200)
    })
}

const restDefaultMinutes = 10
const restMinutesMax = 31 * 24 * 60

const tags = ['accounts']
const testSchema = z
  .object({ ok: z.boolean(), status: z.number().nullable(), model: z.string().nullable(), message: z.string(), durationMs: z.number() })
  .openapi('AccountTest')
const test = createRoute({
  method: 'post',
  path: '/accounts/{ref}/test',
  tags,
  description: 'Sends one small call to this account, past lines and conditions, and says how it went.',
  request: { params: refParams, body: body(object('a test', { model: model.optional() }), false) },
  responses: ok('How it went.', testSchema),
})
const rest = createRoute({
  method: 'post',
  path: '/accounts/{ref}/rest',
  tags,
  description: 'Nobody chooses the account for a while: so many minutes, or until a time. Calls that run go on.',
  request: {
    params: refParams,
    body: body(
      object('a rest', {
        minutes: z.int().min(1).max(restMinutesMax).optional(),
        until: time.optional(),
        why: z.string().trim().min(1).max(200).optional(),
      }),
      false,
    ),
  },
  responses: ok('The account as it fares now.', accountViewSchema),
})
const resume = createRoute({
  method: 'post',
  path: '/accounts/{ref}/resume',
  tags,
  description: 'Ends every rest of the account and forgets its faults.',
  request: { params: refParams },
  responses: ok('The account as it fares now.', accountViewSchema),
})
