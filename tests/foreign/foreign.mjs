// A js-libp2p peer at a relay's hub: connects as any libp2p may, asks who it is, and then says nonsense on every stream it
// can open. Prints what came of it as one line of JSON. Usage: node foreign.mjs ADDRESS SECONDS

// Libraries use it; Node has it from version 22 on.
Promise.withResolvers ??= () => {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

const { randomBytes } = await import('node:crypto')
const { createLibp2p } = await import('libp2p')
const { quic } = await import('@chainsafe/libp2p-quic')
const { gossipsub } = await import('@libp2p/gossipsub')
const { identify } = await import('@libp2p/identify')
const { ping } = await import('@libp2p/ping')
const { multiaddr } = await import('@multiformats/multiaddr')

const [address, seconds] = process.argv.slice(2)
const until = Date.now() + 1000 * Number(seconds)
const relay = multiaddr(address)
const outcome = { connected: 0, pings: 0, protocols: [], streams: 0, refused: 0, bytes: 0, told: 0 }

// What it waits for, and for how long at most.
let where = ''
const within = (name) => {
  where = name
  return { signal: AbortSignal.timeout(10_000) }
}
setTimeout(() => {
  console.error(`stuck: ${where}`, JSON.stringify(outcome))
  process.exit(1)
}, 1000 * (Number(seconds) + 60)).unref()

// Not every one of the library's promises heeds a signal: with as many streams open as may be, another one waits for ever.
const limited = (promise, ms) => {
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('too late')), ms) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
// A peer that does not come to its own end is left where it is.
const leave = (peer) => limited(peer.stop(), 5_000).catch(() => {})

const meet = async () => {
  const peer = await createLibp2p({
    transports: [quic()],
    services: { identify: identify(), ping: ping(), gossip: gossipsub({ allowPublishToZeroTopicPeers: true }) },
  })
  // Nobody should tell a stranger of a topic.
  peer.services.gossip.addEventListener('subscription-change', (event) => {
    outcome.told += event.detail.subscriptions.length
  })
  peer.services.gossip.addEventListener('message', () => outcome.told++)
  peer.services.gossip.subscribe('a topic of my own')
  const connection = await peer.dial(relay, within('dial'))
  outcome.connected++
  return { peer, connection }
}

const greet = async () => {
  const { peer, connection } = await meet()
  await peer.services.ping.ping(relay, within('ping'))
  outcome.pings++
  const { protocols, listenAddrs } = await peer.services.identify.identify(connection, within('identify'))
  outcome.protocols = protocols
  outcome.listenAddrs = listenAddrs.length
  await leave(peer)
}

const babble = async () => {
  const { peer, connection } = await meet()
  const all = [...outcome.protocols, '/meshsub/1.1.0', '/floodsub/1.0.0', '/nonsense/1']
  while (Date.now() < until && connection.status === 'open') {
    for (const protocol of all) {
      try {
        where = protocol
        const stream = await limited(connection.newStream(protocol, { signal: AbortSignal.timeout(2000) }), 2500)
        outcome.streams++
        const words = randomBytes(1 + (randomBytes(2).readUInt16BE() % 65536))
        stream.send(words)
        outcome.bytes += words.length
        // Some streams are left open, some closed, some torn off.
        if (outcome.streams % 3 === 1) await limited(stream.close({ signal: AbortSignal.timeout(500) }), 1000)
        if (outcome.streams % 3 === 2) stream.abort(new Error('enough'))
      } catch {
        outcome.refused++
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }
  await leave(peer)
}

await greet()
while (Date.now() < until) {
  try {
    await babble()
  } catch {
    outcome.refused++
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
// Whoever babbled is still answered afterwards.
await greet()
console.log(JSON.stringify(outcome))
process.exit(0)
