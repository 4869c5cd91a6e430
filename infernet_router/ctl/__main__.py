"""`python -m infernet_router.ctl`: the same as infernet-router-ctl."""

from infernet_router.ctl import main

if __name__ == "__main__":
    main()
