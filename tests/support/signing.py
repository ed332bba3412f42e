"""The one secret under which test services believe webhooks; thirty-two zeros."""

WHSEC = "whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="
