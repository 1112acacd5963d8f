"""What every request passes through: authorisation, forgery checks, headers, errors, pages."""
