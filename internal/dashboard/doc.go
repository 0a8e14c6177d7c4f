// Package dashboard serves the pages that people look at: what is wrong, what hm does about it, why not, since when.
// Everything that a page shows comes from the API of the same node, through a client that needs no network. So a page
// shows what the API says and has the same limits, and a slow page costs no more than a request to the API.
//
// The pages are plain HTML, complete without JavaScript. With it they stay current: the script asks for the changing
// part of the page that it is on, when an event says that something happened and every few seconds.
package dashboard
