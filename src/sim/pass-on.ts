/** A network that passes every call on to another one: what wraps it replaces the calls that it is about. */
import type { Network, NetworkHandlers } from '../ports/network.ts';

/** Of the upper side: what comes in. */
export const passUp = (handlers: NetworkHandlers): NetworkHandlers => ({
  opened: (link) => handlers.opened(link),
  closed: (peerId, error) => handlers.closed(peerId, error),
  frame: (from, frameClass, bytes) => handlers.frame(from, frameClass, bytes),
  news: (bytes) => handlers.news(bytes),
  admitRequest: (from, bytes) => handlers.admitRequest(from, bytes),
});

export const passDown = (network: Network): Network => ({
  start: (handlers, listen) => network.start(handlers, listen),
  dial: (...args) => network.dial(...args),
  announce: (addresses) => network.announce(addresses),
  resolve: (...args) => network.resolve(...args),
  probe: (...args) => network.probe(...args),
  admitCall: (...args) => network.admitCall(...args),
  admit: (peerId) => network.admit(peerId),
  send: (to, frameClass, bytes) => network.send(to, frameClass, bytes),
  disconnect: (peerId) => network.disconnect(peerId),
  publish: (bytes) => network.publish(bytes),
  links: () => network.links(),
  stop: () => network.stop(),
});
