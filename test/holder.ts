import { inMemory } from '../src/coordination/memory.ts'
import { openRedis } from '../src/coordination/redis.ts'
import { systemClock } from '../src/lib/clock.ts'

/**
 * A gateway's coordination as a program of its own, to be killed: it runs calls of user u, one on account a, waits in both lines, and
 * says so. Arguments: where Redis is, its name, the lease, how many slots the user has.
 */
const [url = '', name = '', leaseMs = '', userSlots = ''] = process.argv.slice(2)
const lines = await openRedis({
  url,
  timeoutMs: 250,
  leaseMs: Number(leaseMs),
  process: name,
  clock: systemClock,
  openAlone: () => inMemory(systemClock),
  onChange: () => {},
})
const patient = new AbortController()
const caller = { userId: 'u', keyId: 'k', userSlots: Number(userSlots), keySlots: 0, waitingMax: 100 }
const account = { accountId: 'a', slots: 1 }
await Promise.all(Array.from({ length: caller.userSlots }, () => lines.enter(caller, patient)))
await lines.take(account)
void lines.enter(caller, patient)
void lines.wait({ pool: 'p', userId: 'u', accounts: [account], waitingMax: 100 }, patient)
await lines.renew(caller) // Comes after all of these.
process.stdout.write('holding\n')
