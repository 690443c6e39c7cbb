import { createRoute, z } from '@hono/zod-openapi'
import { formatUsd, parseUsd } from '../ledger/money.ts'
import type { Refunded } from '../ledger/refund.ts'
import { object, usd } from './fields.ts'
import type { AdminParts } from './ports.ts'
import { invalid, notFound, Refusal } from './refusal.ts'
import { body, idParams, ok, routes } from './routes.ts'
import { reason } from './wallets.ts'
import { author } from './writing.ts'

/** A call's charge, given back to whoever paid it: to a wallet, or as room in the windows of a subscription. */
export function refundRoutes(parts: AdminParts) {
  return routes().openapi(refund, async context => {
    const { id } = context.req.valid('param')
    const { amount: said, reason } = context.req.valid('json')
    const amount = said === undefined ? undefined : parseUsd(said)
    if (amount === 0n) throw invalid([{ path: ['amount'], message: `amount is ${said}; a refund gives back more than 0.` }])
    const refunded = await parts.ledger.refund({ callId: id, amount, reason, author })
    if ('refused' in refunded) throw refusalOf(refunded, id)
    if (!refunded.repeated) {
      parts.log.wrote({ who: author, what: `refunded ${formatUsd(refunded.refunded)} USD`, target: `call ${id}` })
    }
    return context.json({ call: id, refunded: formatUsd(refunded.refunded), charged: formatUsd(refunded.charged) }, 200)
  })
}

const refundSchema = object('a refund', {
  amount: usd.optional().describe('All that was charged when it is left out.'),
  reason,
})

const refundedSchema = z
  .object({ call: z.string(), refunded: z.string(), charged: z.string().describe('What the call had been charged.') })
  .openapi('Refunded')

const refund = createRoute({
  method: 'post',
  path: '/usage/{id}/refund',
  tags: ['usage'],
  description: 'Gives back what a call was charged, whole or in part, once. The same refund again has no second effect.',
  request: { params: idParams, body: body(refundSchema) },
  responses: ok('What was given back.', refundedSchema),
})

function refusalOf(refused: Extract<Refunded, { refused: string }>, id: string): Refusal {
  switch (refused.refused) {
    case 'call_unknown':
      return notFound('charged call', id)
    case 'not_charged':
      return new Refusal(409, 'not_charged', `The call ${id} was charged nothing, or still runs; there is nothing to give back.`)
    case 'too_much':
      return new Refusal(
        409,
        'too_much',
        `The call ${id} was charged ${formatUsd(refused.charged)} USD; a refund gives back no more than that.`,
      )
    case 'refunded_already':
      return new Refusal(
        409,
        'refunded_already',
        `Of the call ${id} ${formatUsd(refused.refunded)} USD was given back before; a call is refunded once. An adjustment of the wallet corrects more.`,
      )
  }
}
