package hm9000

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// maxPage bounds one answer of the bulk API, in bytes.
const maxPage = 64 << 20

// desiredApp is what HM9000 reads of an app (D03).
type desiredApp struct {
	ID           string `json:"id"`
	Version      string `json:"version"`
	Instances    int    `json:"instances"`
	State        string `json:"state"`
	PackageState string `json:"package_state"`
}

// wanted reports whether the app's instances may run (D11).
func (d desiredApp) wanted() bool {
	return d.State == "STARTED" && (d.PackageState == "STAGED" || d.PackageState == "PENDING")
}

func (d desiredApp) staged() bool { return d.PackageState == "STAGED" }

// fetch reads all apps page by page. An empty page ends the read, and is a success even if it is the first one (D05,
// W04).
func (h *HM9000) fetch(ctx context.Context) ([]desiredApp, error) {
	var all []desiredApp
	token := "{}"
	for {
		page, next, err := h.fetchPage(ctx, token)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return all, nil
		}
		all, token = append(all, page...), next
	}
}

func (h *HM9000) fetchPage(ctx context.Context, token string) (page []desiredApp, next string, err error) {
	query := url.Values{"batch_size": {strconv.Itoa(batchSize)}, "bulk_token": {token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.opts.CCURL+"/bulk/apps?"+query.Encode(), nil)
	if err != nil {
		return nil, "", err
	}
	req.SetBasicAuth(h.opts.User, h.opts.Password)
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK { // D09
		return nil, "", fmt.Errorf("the bulk API answers %s", resp.Status)
	}
	var answer struct {
		Results map[string]desiredApp `json:"results"`
		Token   struct {
			ID int64 `json:"id"`
		} `json:"bulk_token"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, "", err
	}
	for _, a := range answer.Results {
		page = append(page, a)
	}
	return page, fmt.Sprintf(`{"id":%d}`, answer.Token.ID), nil
}
