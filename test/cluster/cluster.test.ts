import { expect, test } from 'vitest'
import { openStream, send } from '../client.ts'
import { until } from '../world.ts'
import { onCluster, openCluster } from './cluster.ts'

onCluster('three gateways behind nginx', () => {
  test('they share the books and the slots, and one can be killed', async () => {
    await using cluster = await openCluster()
    const { key, id } = await cluster.addPerson()
    for (const { url } of [cluster, ...cluster.nodes]) expect((await send({ url, key })).status).toBe(200)
    await using stream = openStream({ url: cluster.url, key })
    expect((await stream.rest()).at(-1)).toMatchObject({ type: 'response.completed' })
    const rows = await cluster.select(`select * from calls where user_id = '${id}'`)
    expect(rows.map(row => row.ended)).toEqual(Array(5).fill('completed'))
    await until(async () => (await cluster.slotsTaken()).accounts === 0, 'slots are still taken')
    expect(await cluster.slotsTaken()).toEqual({ users: 0, accounts: 0 })
    expect(await cluster.holdsOpen()).toBe(0)

    await cluster.nodes[0]!.kill()
    for (let call = 0; call < 6; call += 1) expect((await send({ url: cluster.url, key })).status).toBe(200)
    await cluster.nodes[0]!.start()
    expect((await send({ url: cluster.nodes[0]!.url, key })).status).toBe(200)
    expect(await cluster.differences()).toEqual([])
  })
})
